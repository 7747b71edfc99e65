"""Lines that may be headings: what they say and how likely. Pure; `chapters` decides which of them are."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .numerals import CHINESE, WORD_PATTERN, number_of

LINE_LIMIT = 90  # characters; longer lines are text
CHINESE_TITLE_LIMIT = 40


class Kind(enum.Enum):
    """What a section of a novel is."""

    VOLUME = "volume"  # 卷, 部, PART, BOOK: a title over the chapters that follow
    CHAPTER = "chapter"
    PROLOGUE = "prologue"  # 楔子, 引子, 序章
    EPILOGUE = "epilogue"  # 尾声, 终章
    EXTRA = "extra"  # 番外
    FRONT = "front"  # 序, preface, and whatever stands before the first heading
    BACK = "back"  # 后记, 跋, appendix


@dataclass(frozen=True, slots=True)
class Heading:
    """One line that looks like a heading. `start` and `end` are offsets into the text, without the line end."""

    start: int
    end: int
    kind: Kind
    unit: str  # 回, 章, chapter, 卷 ...; for unnumbered ones their own word
    number: int | None
    title: str
    line: str
    strong: bool  # stands and reads like a heading by itself; a weak one needs its number's support
    volume: str = ""  # a volume's title in the same line, as in 第一卷 风起 第三章 雨

    @property
    def key(self) -> tuple[str, int | None]:
        """Equal for a chapter's entry in a table of contents and its heading in the text."""
        return self.unit, self.number


_NUMBER = rf"[{CHINESE}]{{1,9}}|[0-9０-９]{{1,5}}"
_CHINESE_HEADING = re.compile(
    rf"[第苐]\s*(?P<number>{_NUMBER})\s*(?P<unit>[回章节節卷集篇幕话話]|部分?)|卷\s*(?P<volume>{_NUMBER})(?![{CHINESE}])"
)
_CHINESE_WORDS = {
    "楔子": Kind.PROLOGUE, "引子": Kind.PROLOGUE, "序章": Kind.PROLOGUE, "序幕": Kind.PROLOGUE, "序曲": Kind.PROLOGUE,
    "尾声": Kind.EPILOGUE, "尾聲": Kind.EPILOGUE, "终章": Kind.EPILOGUE, "終章": Kind.EPILOGUE,
    "番外": Kind.EXTRA, "外传": Kind.EXTRA, "外傳": Kind.EXTRA,
    "自序": Kind.FRONT, "序言": Kind.FRONT, "前言": Kind.FRONT, "引言": Kind.FRONT, "序": Kind.FRONT,
    "后记": Kind.BACK, "後記": Kind.BACK, "跋": Kind.BACK, "附录": Kind.BACK, "附錄": Kind.BACK,
}  # fmt: skip
_CHINESE_WORD = re.compile("|".join(sorted(_CHINESE_WORDS, key=len, reverse=True)))
_ENGLISH_HEADING = re.compile(
    rf"(?P<unit>chapter|part|book|volume)\s+(?:the\s+)?"
    rf"(?P<number>\d{{1,4}}|(?:{WORD_PATTERN})(?:[\s-](?:{WORD_PATTERN}))?|[ivxlcdm]{{1,9}})(?![\w'’])",
    re.IGNORECASE,
)
_ENGLISH_WORDS = {
    "prologue": Kind.PROLOGUE, "prelude": Kind.PROLOGUE, "epilogue": Kind.EPILOGUE,
    "preface": Kind.FRONT, "foreword": Kind.FRONT, "introduction": Kind.FRONT, "etymology": Kind.FRONT,
    "extracts": Kind.FRONT, "dedication": Kind.FRONT, "contents": Kind.FRONT,
    "afterword": Kind.BACK, "postscript": Kind.BACK, "appendix": Kind.BACK,
}  # fmt: skip
_ENGLISH_WORD = re.compile(rf"({'|'.join(_ENGLISH_WORDS)})(?!\w)", re.IGNORECASE)
_LINE = re.compile(
    rf"^[ \t\u3000\xa0]*(?=[第苐卷{''.join(sorted({word[0] for word in _CHINESE_WORDS}))}]|[cpbvCPBV]|[edifaEDIFA])"
    rf"[^\n]{{1,{LINE_LIMIT}}}$",
    re.MULTILINE,
)
_SEPARATOR = re.compile(r"[\s:：、.．·—–\-－・\u3000]+")
_SENTENCE_END = tuple("。，、；,;")
_GOES_ON = re.compile("[中里裏内內的是说說讲講所以已曾也有就完末後后时時前，,]|开始|结束|結束")
_OTHER_WORD = re.compile("合|队|隊|团|團|课|課|程|落")  # 第三回合, 第二部队, 第五集团, 第一节课
_BLANK_BEFORE = re.compile(r"(?:^|\n)[ \t\u3000\xa0]*\n\Z")
_TRAILING_PAGE = re.compile(r"[\s.…·\u3000]{2,}\d{1,4}\s*$")


def find_headings(text: str) -> Iterator[Heading]:
    """Every line of the text that may be a heading, in order."""
    for match in _LINE.finditer(text):
        line = match.group().strip()
        after_blank = _stands_apart(text, match.start())
        found = _chinese(line) or _chinese_word(line) or _english(line) or _english_word(line)
        if found is None:
            continue
        kind, unit, number, title, strong, volume = found
        if unit.isascii():  # Latin text is wrapped: a mention may well start a line
            strong = strong and after_blank
        yield Heading(match.start(), match.end(), kind, unit, number, title, line, strong, volume)


_Found = tuple[Kind, str, int | None, str, bool, str]
_VOLUMES = frozenset("卷部集篇幕") | {"part", "book", "volume"}


def _chinese(line: str) -> _Found | None:
    match = _CHINESE_HEADING.match(line)
    if match is None:
        return None
    unit = match["unit"] or "卷"
    unit = {"節": "节", "話": "话", "部分": "部"}.get(unit, unit)
    number = number_of(match["number"] or match["volume"])
    rest = line[match.end() :]
    kind = Kind.VOLUME if unit in _VOLUMES else Kind.CHAPTER
    inner = _CHINESE_HEADING.search(rest)
    if inner is not None:
        if kind is Kind.VOLUME and inner["unit"] in {"回", "章", "节", "節", "话", "話"}:
            return _under_volume(line, match.end() + inner.start())
        return None  # two chapters in one line: a table of contents, or talk about chapters
    separated = not rest or _SEPARATOR.match(rest) is not None
    title = _title(rest)
    if len(title) > CHINESE_TITLE_LIMIT or re.search("[。；]", title[:-1]):
        return None
    if not separated and (_OTHER_WORD.match(rest) or line.endswith((*_SENTENCE_END, "：", ":"))):
        return None
    strong = not line.endswith(_SENTENCE_END) and (separated or not (_GOES_ON.match(rest) or "，" in rest))
    return kind, unit, number, title, strong, ""


def _under_volume(line: str, at: int) -> _Found | None:
    inner = _chinese(line[at:])
    return inner and (*inner[:5], _TRAILING_PAGE.sub("", line[:at]).strip(" \t\u3000:：·-—"))


def _chinese_word(line: str) -> _Found | None:
    match = _CHINESE_WORD.match(line)
    if match is None:
        return None
    word, rest = match.group(), line[match.end() :]
    kind = _CHINESE_WORDS[word]
    numbered = re.match(rf"\s*[篇之]?\s*({_NUMBER})(?=$|[\s:：、.．·—])", rest) if kind is Kind.EXTRA else None
    number = number_of(numbered[1]) if numbered else None
    rest = rest[numbered.end() :] if numbered else rest.removeprefix("篇") if kind is Kind.EXTRA else rest
    title = _title(rest)
    if (rest and not _SEPARATOR.match(rest)) or len(title) > CHINESE_TITLE_LIMIT:
        return None
    return None if line.endswith(_SENTENCE_END) else (kind, word, number, title, True, "")


def _english(line: str) -> _Found | None:
    match = _ENGLISH_HEADING.match(line)
    if match is None:
        return None
    unit, number, rest = match["unit"].lower(), number_of(match["number"]), line[match.end() :]
    if number is None or not _reads_like_title(rest):
        return None
    inner = _ENGLISH_HEADING.search(rest)
    if inner is not None:
        if unit == "chapter" or inner["unit"].lower() != "chapter":
            return None
        found = _english(rest[inner.start() :])
        return found and (*found[:5], line[: match.end() + inner.start()].strip(" \t,.:;-—"))
    kind = Kind.VOLUME if unit in _VOLUMES else Kind.CHAPTER
    strong = not line.endswith((",", ";")) and line[0].isupper()
    return kind, unit, number, _title(rest), strong, ""


def _english_word(line: str) -> _Found | None:
    match = _ENGLISH_WORD.match(line)
    if match is None or not line[0].isupper() or not _reads_like_title(line[match.end() :]):
        return None
    word = match.group().lower()
    return _ENGLISH_WORDS[word], word, None, _title(line[match.end() :]), not line.endswith((",", ";")), ""


def _reads_like_title(rest: str) -> bool:
    """What follows the number ends the line, is set off by a mark, or starts with a capital, a digit or a quote."""
    if not rest.strip():
        return True
    if re.match(r"\s*[.:—–\-]", rest):
        return True
    first = rest.lstrip()[:1]
    return rest[0].isspace() and (first.isupper() or not first.isascii() or first in "\"'([‘“")


def _title(rest: str) -> str:
    rest = _TRAILING_PAGE.sub("", rest)
    lead = _SEPARATOR.match(rest)
    return (rest[lead.end() :] if lead else rest).strip()


def _stands_apart(text: str, start: int) -> bool:
    """The line before is blank, or there is none."""
    return start == 0 or _BLANK_BEFORE.search(text, max(0, start - 200), start) is not None
