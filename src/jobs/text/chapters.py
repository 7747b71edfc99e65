"""Which of the lines that look like headings are headings, and the sections between them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .headings import Heading, Kind, find_headings

CONTENTS_ENTRIES = 3  # so many headings without a line of text between them are a table of contents
TITLE_LIMIT = 40  # characters of a line that may be a title
LOOKAHEAD = 6  # headings among which the next number is looked for

# Which unit is a chapter where several occur; what is above it is a volume, what is below it is text.
_CHAPTER_UNITS = ("chapter", "章", "回", "话", "节", "篇", "集", "卷", "部", "幕", "book", "part", "volume")
_SENTENCE_ENDS = ("。", "！", "？", "!", "?", "…", "”", "」", "；", '"')
_FILLER = " \t\n\u3000\xa00123456789.…·-—_*"


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of the text from its heading, which belongs to it, to the next section. Offsets in characters."""

    kind: Kind
    number: int | None
    title: str
    heading: str  # the whole line; empty for text before the first heading
    volume: str
    start: int
    end: int


def find_sections(text: str) -> list[Section]:
    """The text as sections that follow each other without a gap, from 0 to its end.

    A text without a single heading is one chapter. Volumes are no sections: their lines belong to the section
    after them, and their titles to all that follow up to the next volume.
    """
    found = list(find_headings(text))
    chapter_unit = _chapter_unit(found)
    found = _without_contents(text, found, chapter_unit, _is_filler_or_title)
    found = _without_contents(text, found, chapter_unit, _is_filler)
    headings = _in_sequence(_levelled(found, chapter_unit), chapter_unit)
    return _sections(text, _front_words_in_front(headings))


_Joins = Callable[[str], bool]


def _without_contents(text: str, found: Sequence[Heading], chapter_unit: str | None, joins: _Joins) -> list[Heading]:
    """Drop tables of contents: clusters of headings without text between them, or that come again with text."""
    last_starts = {heading.key: heading.start for heading in found}
    kept: list[Heading] = []
    for cluster in _clusters(text, found, joins):
        last = cluster[-1]
        entries = [
            heading for heading in cluster[:-1] if heading.kind is not Kind.VOLUME or heading.unit == chapter_unit
        ]
        again = {entry.key for entry in entries if last_starts[entry.key] > last.start} - {last.key}
        keys = {entry.key for entry in entries if entry.number is not None}
        if joins is _is_filler:
            is_contents = bool(again) or len({*keys, last.key}) >= CONTENTS_ENTRIES
        else:
            is_contents = len(keys) >= CONTENTS_ENTRIES and keys <= {*again, last.key}
        runs_into_text = last.key in keys or last_starts[last.key] == last.start
        if not is_contents:
            kept.extend(_joined(cluster))
        elif runs_into_text:
            kept.extend(_tail(cluster))
    return kept


def _clusters(text: str, found: Sequence[Heading], joins: _Joins) -> list[list[Heading]]:
    clusters: list[list[Heading]] = []
    for heading in found:
        if clusters and joins(text[clusters[-1][-1].end : heading.start]):
            clusters[-1].append(heading)
        else:
            clusters.append([heading])
    return clusters


def _is_filler(gap: str) -> bool:
    """Nothing but space, dots and page numbers."""
    return not gap.strip(_FILLER)


def _is_filler_or_title(gap: str) -> bool:
    """Filler or one short line that ends no sentence: a title below its number."""
    line = gap.strip(_FILLER)
    return len(line) <= TITLE_LIMIT and "\n" not in line and not line.endswith(_SENTENCE_ENDS)


def _joined(cluster: Sequence[Heading]) -> list[Heading]:
    """The cluster with a heading and its repetition on the next line as one."""
    joined: list[Heading] = []
    for heading in cluster:
        if joined and joined[-1].key == heading.key:
            fuller = max(joined[-1], heading, key=lambda one: len(one.title))
            joined[-1] = replace(fuller, start=joined[-1].start, end=heading.end)
        else:
            joined.append(heading)
    return joined


def _tail(cluster: Sequence[Heading]) -> list[Heading]:
    """The real headings that a table of contents runs into: the last chapter and the volume just over it."""
    volume = cluster[-2] if len(cluster) > 1 and cluster[-2].kind is Kind.VOLUME else None
    return [heading for heading in (volume, cluster[-1]) if heading is not None]


def _chapter_unit(found: Sequence[Heading]) -> str | None:
    """The unit of this novel's chapters: the commonest of 章, 回 and chapter, else the finest numbered one."""
    counts = Counter(heading.unit for heading in found if heading.unit in _CHAPTER_UNITS)
    usual = [unit for unit in _CHAPTER_UNITS[:4] if counts[unit]]
    if usual:
        return max(usual, key=lambda unit: counts[unit])
    return next((unit for unit in _CHAPTER_UNITS if counts[unit]), None)


def _levelled(found: Sequence[Heading], chapter_unit: str | None) -> list[Heading]:
    """Chapters of the chosen unit, volumes above it, and the unnumbered ones; other units are part of the text."""
    return [
        heading
        for heading in found
        if heading.unit == chapter_unit or heading.unit not in _CHAPTER_UNITS or heading.kind is Kind.VOLUME
    ]


def _in_sequence(headings: Sequence[Heading], chapter_unit: str | None) -> list[Heading]:
    """Take numbers as evidence: a weak heading needs the right one, a strong one must not break a sequence.

    Numbers may start anew at a volume, or where the next one follows; a repeated heading is a page header.
    """
    strong_keys = {heading.key for heading in headings if heading.strong}
    kept: list[Heading] = []
    previous: Heading | None = None
    for index, heading in enumerate(headings):
        if heading.unit != chapter_unit:
            if heading.strong and not _repeats(kept, heading):
                kept.append(heading)
                if heading.kind is Kind.VOLUME:
                    previous = None
            continue
        following = [later.number for later in headings[index + 1 :][:LOOKAHEAD] if later.unit == chapter_unit]
        if _fits(heading, previous, following, strong_keys):
            kept.append(heading)
            previous = heading
    return kept


def _repeats(kept: Sequence[Heading], heading: Heading) -> bool:
    """The volume that is open already, or the same unnumbered line again."""
    if heading.kind is Kind.VOLUME:
        opened = next((other for other in reversed(kept) if other.kind is Kind.VOLUME), None)
        return opened is not None and opened.line == heading.line
    return bool(kept) and kept[-1].line == heading.line


def _fits(
    heading: Heading,
    previous: Heading | None,
    following: Sequence[int | None],
    strong_keys: set[tuple[str, int | None]],
) -> bool:
    number = heading.number
    if number is None:
        return False
    if not heading.strong:
        expected = previous.number + 1 if previous is not None and previous.number is not None else 1
        return number == expected and heading.key not in strong_keys
    if previous is None or previous.number is None:
        return True
    if number == previous.number:
        return heading.title != previous.title
    if number == previous.number + 1:
        return True
    supported = bool(following) and following[0] == number + 1
    return supported or previous.number + 1 not in following


def _front_words_in_front(headings: Sequence[Heading]) -> list[Heading]:
    """Before the first chapter a word such as 跋 heads front matter; a preface after it is text of that chapter."""
    chapters = [index for index, heading in enumerate(headings) if heading.kind in (Kind.CHAPTER, Kind.PROLOGUE)]
    first = chapters[0] if chapters else len(headings)
    return [heading for index, heading in enumerate(headings) if index < first or heading.kind is not Kind.FRONT]


def _sections(text: str, headings: Sequence[Heading]) -> list[Section]:
    has_chapters = any(heading.kind is Kind.CHAPTER for heading in headings)
    openings: list[tuple[int, Heading, str]] = []
    volume = ""
    volume_start: int | None = None
    for heading in headings:
        start = heading.start if volume_start is None else volume_start
        if heading.kind is Kind.VOLUME and has_chapters:
            volume, volume_start = heading.line, start
            continue
        volume = heading.volume or volume
        openings.append((start, heading, volume))
        volume_start = None
    return [*_before(text, openings), *_opened(text, openings)]


def _before(text: str, openings: Sequence[tuple[int, Heading, str]]) -> list[Section]:
    """What stands before the first heading, unless it is blank."""
    if not openings:
        return [Section(Kind.CHAPTER, None, "", "", "", 0, len(text))]
    end = openings[0][0]
    if not text[:end].strip():
        return []
    first_line = text[:end].strip().partition("\n")[0].strip()
    return [Section(Kind.FRONT, None, first_line[:TITLE_LIMIT], "", "", 0, end)]


def _opened(text: str, openings: Sequence[tuple[int, Heading, str]]) -> list[Section]:
    starts = [start for start, _, _ in openings]
    if starts and not text[: starts[0]].strip():
        starts[0] = 0
    ends = [*starts[1:], len(text)]
    return [
        Section(
            Kind.CHAPTER if heading.kind is Kind.VOLUME else heading.kind,
            heading.number,
            heading.title or ("" if heading.number else heading.line),
            heading.line,
            volume,
            start,
            end,
        )
        for (_, heading, volume), start, end in zip(openings, starts, ends, strict=False)
    ]
