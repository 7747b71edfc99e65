"""`novel.split`: a novel's text into chapters, each within a token budget, and a manifest of them."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from .. import Context, Fail, WrongField, job
from ..storage import InvalidKey, ObjectMissing, ObjectTooLarge
from .documents import content_key, put_document
from .manifest import MANIFESTS, TEXTS, Manifest, ManifestSection

if TYPE_CHECKING:
    from ..settings import Settings
    from ..storage import Storage
    from .text.chapters import Section
    from .text.decoding import Decoded

NOVEL_LIMIT_BYTES = 64 * 1024 * 1024
LOOKED_AT_BYTES = 4 * 1024 * 1024  # of a file, when it is enqueued: some 20 ms


class NovelSplit(msgspec.Struct, frozen=True, kw_only=True):
    """A novel: exactly one of `key` (in storage) and `path` (absolute, on the worker's machine)."""

    key: str | None = None
    path: str | None = None
    title: Annotated[str, Meta(max_length=500)] | None = None
    extract_characters: bool = False
    max_tokens: Annotated[int, Meta(ge=50, le=1_000_000)] = 3000

    def __post_init__(self) -> None:
        if (self.key is None) == (self.path is None):
            raise ValueError("give exactly one of `key` and `path`")
        if self.path is not None and not Path(self.path).is_absolute():
            raise ValueError(f"`path` must be absolute, not {self.path!r}")


def check_novel(payload: NovelSplit, _settings: Settings) -> None:
    """Refuse a key that is none, and a file on this machine that is no text. Raises WrongField."""
    from ..storage.interface import checked_key
    from .text.decoding import UnreadableText, decode

    try:
        if payload.key is not None:
            checked_key(payload.key)
        path = Path(payload.path or "/")
        is_looked_at = path.is_file() and path.stat().st_size <= NOVEL_LIMIT_BYTES
        if is_looked_at and (lines := _first_lines(path)) is not None:
            decode(lines)
    except InvalidKey as error:
        raise WrongField("key", str(error)) from None
    except UnreadableText as error:
        raise WrongField("path", f"{payload.path}: {error}") from None
    except (OSError, ValueError):
        return  # it is for the worker to read


def _first_lines(path: Path) -> bytes | None:
    """As many whole lines as LOOKED_AT_BYTES hold, or the whole file; None where a text's line is longer than that."""
    with path.open("rb") as file:
        content = file.read(LOOKED_AT_BYTES + 1)
    if len(content) <= LOOKED_AT_BYTES:
        return content
    end = content.rfind(b"\n")
    if b"\0" in content[:1024]:  # UTF-16, perhaps: a line's end is two bytes of either order
        end = max(content.rfind(b"\n\0"), content.rfind(b"\0\n")) & ~1
        return content[: end if end > 0 else LOOKED_AT_BYTES]
    return content[:end] if end > 0 else None


@job("novel.split", queue="text", timeout_seconds=300, check=check_novel)
def split(payload: NovelSplit, ctx: Context) -> dict[str, Any]:
    """Write a text for each section and, last, the manifest that names them.

    All is decoded and cut before anything is written, and every object is named after its content: an attempt
    that breaks off leaves whole texts at most, which the next attempt writes again as they are.
    """
    from .text.chapters import find_sections
    from .text.decoding import UnreadableText, decode

    try:
        novel = decode(_read(payload, ctx.storage))
    except UnreadableText as error:
        raise Fail(f"{payload.key or payload.path}: {error}") from None
    sections = find_sections(novel.text)
    manifest = Manifest(
        title=payload.title,
        encoding=novel.encoding,
        sha256=_sha256(novel.text),
        characters=len(novel.text),
        max_tokens=payload.max_tokens,
        sections=_written(novel, sections, payload.max_tokens, ctx),
    )
    key = put_document(ctx.storage, MANIFESTS, manifest)
    if payload.extract_characters:
        ctx.enqueue("characters.extract", {"manifest": key})
    return _summary(key, manifest)


def _read(payload: NovelSplit, storage: Storage) -> bytes:
    """The bytes of the novel. Raises Fail where there is none or it is over the limit, before reading it whole."""
    try:
        if payload.key is not None:
            return storage.get(payload.key, limit_bytes=NOVEL_LIMIT_BYTES)
        return _read_file(Path(payload.path or ""))
    except (ObjectMissing, ObjectTooLarge, InvalidKey) as error:
        raise Fail(str(error)) from None


def _read_file(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Fail(f"{path} is not a regular file")
        if status.st_size > NOVEL_LIMIT_BYTES:
            raise Fail(f"{path} has {status.st_size:,} bytes; at most {NOVEL_LIMIT_BYTES:,} are allowed")
        with path.open("rb") as file:
            return file.read(NOVEL_LIMIT_BYTES)
    except (OSError, ValueError) as error:
        raise Fail(f"{path} cannot be read: {error}") from None


def _sha256(text: str) -> str:
    """In slices, so that a big text is not there a second time as bytes."""
    digest = hashlib.sha256()
    for start in range(0, len(text), 1 << 20):
        digest.update(text[start : start + (1 << 20)].encode())
    return digest.hexdigest()


def _written(novel: Decoded, sections: list[Section], max_tokens: int, ctx: Context) -> list[ManifestSection]:
    from .text.cutting import cut, estimate_tokens

    written = []
    for index, section in enumerate(sections):
        ctx.raise_if_cancelled()
        text = novel.text[section.start : section.end]
        content = text.encode()
        key = content_key(TEXTS, content, "txt")
        ctx.storage.put(key, content, content_type="text/plain; charset=utf-8")
        written.append(
            ManifestSection(
                index=index,
                kind=section.kind.value,
                number=section.number,
                title=section.title,
                heading=section.heading,
                volume=section.volume,
                key=key,
                characters=len(text),
                tokens=estimate_tokens(text),
                parts=cut(text, max_tokens),
            )
        )
        ctx.progress(index + 1, len(sections))
    return written


def _summary(key: str, manifest: Manifest) -> dict[str, Any]:
    kinds = sorted({section.kind for section in manifest.sections})
    return {
        "manifest": key,
        "title": manifest.title,
        "encoding": manifest.encoding,
        "characters": manifest.characters,
        "chapters": manifest.count("chapter"),
        "sections": {kind: manifest.count(kind) for kind in kinds},
        "volumes": len({section.volume for section in manifest.sections if section.volume}),
        "parts": sum(len(section.parts) for section in manifest.sections),
        "front_matter": [section.heading or section.title for section in manifest.sections if section.kind == "front"],
    }
