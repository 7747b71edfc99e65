"""`characters.*`: who is in a novel, observed section by section by several workers and judged together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .. import Context, Fail, job
from .documents import put_document
from .manifest import read_manifest, read_section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..storage import Storage
    from .manifest import Manifest, ManifestSection
    from .providers.characters import Character, Claim
    from .report import Person

Language = Literal["zh", "en"]

OBSERVATIONS = "characters/observations"
GROUPS = 8  # jobs a novel is shared out to, unless their share would be small
GROUP_CHARACTERS = 30_000
LANGUAGE_SAMPLE = 4_000  # characters
TOP = 20
OBSERVATIONS_LIMIT_BYTES = 64 * 1024 * 1024

_CHILDREN = """
  SELECT status::text, result, error
    FROM workerctl.job
   WHERE parent_id = %(parent)s
ORDER BY child_index
"""


class Extract(msgspec.Struct, frozen=True, kw_only=True):
    """A novel that novel.split has split."""

    manifest: Annotated[str, Meta(min_length=1)]


class Chapters(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's share: sections of the manifest by their index."""

    manifest: str
    language: Language
    sections: list[int]


class Merge(msgspec.Struct, frozen=True, kw_only=True):
    """The shares of the job `parent`, to be judged together."""

    manifest: str
    language: Language
    parent: int


@job("characters.extract", queue="text", timeout_seconds=60)
def extract(payload: Extract, ctx: Context) -> dict[str, Any]:
    """Share the novel out to `characters.chapters` children; `characters.merge` follows when they have ended."""
    manifest = read_manifest(ctx.storage, payload.manifest)
    told = [section for section in manifest.sections if section.kind not in ("front", "back")]
    if not told:
        raise Fail(f"manifest {payload.manifest!r} has no chapter to look for characters in")
    language = _language(ctx.storage, told)
    groups = share_out([section.characters for section in told])
    for group in groups:
        sections = [told[place].index for place in group]
        share = Chapters(manifest=payload.manifest, language=language, sections=sections)
        ctx.enqueue("characters.chapters", share, child=True, queue=ctx.job.queue)
    ctx.on_done("characters.merge", {"manifest": payload.manifest, "language": language}, queue=ctx.job.queue)
    return {"manifest": payload.manifest, "language": language, "sections": len(told), "shares": len(groups)}


@job("characters.chapters", queue="text", timeout_seconds=900)
async def chapters(payload: Chapters, ctx: Context) -> dict[str, Any]:
    """Observe one share and leave what was seen in storage, under a name made from it.

    Offline, and by a model where a provider serves characters; a model's answers are kept, so that an attempt that
    follows another asks for the rest alone.
    """
    from .providers.account import account_for, account_that
    from .providers.characters import added, finder_for
    from .threads import computed, stored

    sections = await stored(_sections, payload, ctx.storage)
    finder = await computed(finder_for, payload.language)
    observations = []
    for done, (_, text) in enumerate(sections, 1):
        observations.append(await computed(finder.observe, text))
        ctx.progress(done, 2 * len(sections))
    if account_for("characters.chapters", ctx.settings) is not None:
        from .providers.model_characters import observed

        account = account_that("characters.chapters", ctx.settings, "openai")
        observations.append(await observed(ctx, account, sections))
    total = added(observations)
    key = await stored(put_document, ctx.storage, OBSERVATIONS, total)
    return {"observations": key, "sections": len(sections), "provider": finder.name, "model": total.model or None}


@job("characters.merge", queue="text", timeout_seconds=300)
def merge(payload: Merge, ctx: Context) -> dict[str, Any]:
    """Judge all shares together, count every mention, and write who was found.

    Shares that failed are left out and counted as `failed_shares`: their names may be found all the same, for
    mentions are counted in the whole novel.
    """
    from .providers.characters import Observations, added, finder_for
    from .providers.claims import joined
    from .report import REPORTS, Report

    keys, failed = _shares(ctx, payload.parent)
    finder = finder_for(payload.language)
    limit = OBSERVATIONS_LIMIT_BYTES
    observations = [msgspec.json.decode(ctx.storage.get(key, limit_bytes=limit), type=Observations) for key in keys]
    total = added(observations)
    manifest = read_manifest(ctx.storage, payload.manifest)
    persons = _persons(ctx, manifest, joined(finder.decide(observations), total.claims), total.claims)
    report = Report(
        manifest=payload.manifest,
        title=manifest.title,
        language=payload.language,
        provider=f"{finder.name}+{total.model}" if total.model else finder.name,
        failed_shares=failed,
        claims=len(total.claims),
        unproved=total.unproved,
        characters=persons,
    )
    return {
        "characters": put_document(ctx.storage, REPORTS, report),
        "manifest": payload.manifest,
        "provider": report.provider,
        "found": len(persons),
        "failed_shares": failed,
        "claims": report.claims,
        "unproved": report.unproved,
        "top": [msgspec.to_builtins(person) for person in persons[:TOP]],
    }


def _persons(ctx: Context, manifest: Manifest, found: Sequence[Character], claims: Sequence[Claim]) -> list[Person]:
    """Each with all mentions in the novel, the most mentioned first."""
    from .providers.claims import claims_about
    from .report import person_of
    from .text.mentions import Tally

    about = {person.name: claims_about(person, claims) for person in found}
    tally = Tally((person.name, person.names) for person in found)
    for section in manifest.sections:
        ctx.raise_if_cancelled()
        if section.kind not in ("front", "back"):
            tally.add(section.index, read_section(ctx.storage, section))
        ctx.progress(section.index + 1, len(manifest.sections))
    persons = [person_of(name, mentions, manifest.sections, about[name]) for name, mentions in tally.mentions.items()]
    return sorted(persons, key=lambda person: (-person.mentions, person.name))


def _sections(payload: Chapters, storage: Storage) -> list[tuple[int, str]]:
    """(index, text) of the share's sections. Raises Fail where the manifest has no such."""
    by_index = {section.index: section for section in read_manifest(storage, payload.manifest).sections}
    missing = [index for index in payload.sections if index not in by_index]
    if missing:
        raise Fail(f"manifest {payload.manifest!r} has no section {missing[0]}")
    return [(index, read_section(storage, by_index[index])) for index in payload.sections]


def share_out(sizes: Sequence[int]) -> list[list[int]]:
    """Places of the sizes in runs of about the same sum: GROUPS runs, or fewer where there is little."""
    total = sum(sizes)
    wanted = max(1, min(GROUPS, total // GROUP_CHARACTERS))
    groups: list[list[int]] = [[]]
    filled = 0
    for place, size in enumerate(sizes):
        if groups[-1] and len(groups) < wanted and filled + size / 2 > total * len(groups) / wanted:
            groups.append([])
        groups[-1].append(place)
        filled += size
    return groups


def _language(storage: Storage, sections: Sequence[ManifestSection]) -> Language:
    """From the longest section's beginning: Chinese where a fifth of it is Chinese characters."""
    longest = max(sections, key=lambda section: section.characters)
    sample = read_section(storage, longest)[:LANGUAGE_SAMPLE]
    chinese = sum("\u4e00" <= character <= "\u9fff" for character in sample)
    return "zh" if chinese > len(sample) / 5 else "en"


def _shares(ctx: Context, parent: int) -> tuple[list[str], int]:
    """Keys of what the parent's children have seen, and how many of them failed. Raises Fail where all did."""
    from psycopg.rows import tuple_row

    with ctx.database() as connection, connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_CHILDREN, {"parent": parent}).fetchall()
    keys = [result["observations"] for status, result, _ in rows if status == "succeeded"]
    if not keys:
        reasons = {str(error) for _, _, error in rows if error}
        raise Fail(f"no share of job {parent} succeeded: {'; '.join(sorted(reasons)) or 'it has no children'}")
    return keys, len(rows) - len(keys)
