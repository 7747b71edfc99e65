"""What `novel.split` leaves in storage: one object a section, and a manifest that names them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .. import Fail
from ..storage import InvalidKey, ObjectMissing

if TYPE_CHECKING:
    from ..storage import Storage

VERSION = 1
MANIFESTS = "novels/manifests"
TEXTS = "novels/texts"
MANIFEST_LIMIT_BYTES = 64 * 1024 * 1024


class ManifestSection(msgspec.Struct, frozen=True, kw_only=True):
    """One section; `parts` are (start, end) in characters of its text, each within the token budget."""

    index: int
    kind: str  # chapter, prologue, epilogue, extra, front, back
    number: int | None
    title: str
    heading: str  # the whole heading line; it is part of the text
    volume: str
    key: str
    characters: int
    tokens: int
    parts: list[tuple[int, int]]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A novel in sections. Their texts joined in order are the novel, with line ends made `\\n`."""

    version: int = VERSION
    title: str | None
    encoding: str
    sha256: str  # of the whole text in UTF-8
    characters: int
    max_tokens: int
    sections: list[ManifestSection]

    def count(self, kind: str) -> int:
        return sum(section.kind == kind for section in self.sections)


def read_manifest(storage: Storage, key: str) -> Manifest:
    """Raises Fail where there is no such object or it is no manifest."""
    try:
        content = storage.get(key, limit_bytes=MANIFEST_LIMIT_BYTES)
        return msgspec.json.decode(content, type=Manifest)
    except (ObjectMissing, InvalidKey) as error:
        raise Fail(f"manifest: {error}") from None
    except msgspec.MsgspecError as error:
        raise Fail(f"manifest: {key!r} is not one that novel.split wrote: {error}") from None


def read_section(storage: Storage, section: ManifestSection) -> str:
    return storage.get(section.key).decode()
