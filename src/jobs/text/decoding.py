"""Bytes of a novel to text: which encoding it is in, and a clear refusal of what is no text. Pure."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

SAMPLE_BYTES = 256 * 1024
UTF16_SHARE = 0.35  # of one half of the byte pairs being zero or CJK's high bytes
LIKENESS = 0.05  # least share of everyday Chinese beyond ASCII for GB18030 or Big5
CONTROL_LIMIT = 0.001  # share of control characters that a text may have

_BOMS = (
    (codecs.BOM_UTF8, "utf-8", "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16-le-bom"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16-be-bom"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffe\uffff]")
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\r\f\v\x1a\x1b"))
_LINE_ENDS = ("\r\n", "\r", "\u2028", "\u2029", "\x85")

# The commonest characters of running Chinese, simplified and traditional: about a quarter of any prose.
_COMMON = frozenset(
    "的一是不了在人有我他这中大来上个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然"
    "没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但身些与高意进把法此实回二理"
    "第回章卷曰這個來說們為時國會過後學對裡麼發還沒開當無經頭麵從動兩長樣現將與進實點種關見問間東車門話聽書"
)
_MARKS = frozenset("，。、！？：；“”‘’「」『』（）《》…—　")


class UnreadableText(ValueError):
    """The bytes are no text that we can read; the message says why."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text with line ends made `\\n`, zeros made U+FFFD (no database takes them) and no byte order mark."""

    text: str
    encoding: str


def decode(content: bytes) -> Decoded:
    """The text of a novel and the encoding it was in: UTF-8, UTF-16, GB18030 or Big5.

    Raises UnreadableText for nothing at all, for a binary file, and for bytes that fit no encoding; where the
    text is UTF-8 but for some bytes, it names the first wrong one.
    """
    if not content.strip(b"\x00 \t\r\n"):
        raise UnreadableText("the text is empty")
    for bom, codec, name in _BOMS:
        if content.startswith(bom):
            return _decoded(_strictly(content, codec, len(bom)), name)
    codec = _utf16_without_bom(content) or _utf8(content) or _legacy(content)
    return _decoded(_strictly(content, codec, 0), codec)


def _decoded(text: str, encoding: str) -> Decoded:
    if not text or text.isspace():
        raise UnreadableText("the text is empty")
    for line_end in _LINE_ENDS:  # a text without one is not copied by this, and a text may have 240 MB
        text = text.replace(line_end, "\n")
    return Decoded(text.replace("\0", "\ufffd"), encoding)


def _strictly(content: bytes, codec: str, skip: int) -> str:
    decoder = codecs.getdecoder(codec)
    try:
        text, _ = decoder(_plain_line_ends(content, codec, skip), "strict")
    except UnicodeDecodeError:
        raise UnreadableText(_wrong_byte(content, codec, skip)) from None
    if len(_CONTROL.findall(text[:SAMPLE_BYTES])) > CONTROL_LIMIT * min(len(text), SAMPLE_BYTES):
        raise UnreadableText("this is a binary file, not a text")
    return text


def _plain_line_ends(content: bytes, codec: str, skip: int) -> bytes | memoryview:
    """As bytes, where no character's second byte is a line end: that costs less memory than in the text."""
    if codec.startswith("utf-16") or b"\r" not in content:
        return memoryview(content)[skip:]
    return content[skip:].replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _wrong_byte(content: bytes, codec: str, skip: int) -> str:
    try:
        codecs.getdecoder(codec)(memoryview(content)[skip:], "strict")
        offset = len(content)
    except UnicodeDecodeError as error:
        offset = skip + error.start
    shown = content[offset : offset + 4].hex(" ")
    likely = _guess(content) if codec == "utf-8" else ""
    return f"the text is not valid {codec.upper()} at byte {offset:,} ({shown}){likely}; save it as UTF-8"


def _utf16_without_bom(content: bytes) -> str | None:
    """Latin text has a zero in every pair, Chinese a high byte of 4E to 9F in most; UTF-8 and GB have neither."""
    sample = content[: SAMPLE_BYTES & ~1]
    if len(content) % 2 or len(sample) < 4:
        return None
    for codec, high, low in (
        ("utf-16-le", sample[1::2], sample[::2]),
        ("utf-16-be", sample[::2], sample[1::2]),
    ):
        zeros = high.count(0)
        if zeros > UTF16_SHARE * len(high) and low.count(0) < 0.01 * len(low):
            return codec
        text = sample.decode(codec, "ignore")
        if _share(text, _COMMON | _MARKS) > 0.12 and b"\x00" in sample:
            return codec
    return None


def _utf8(content: bytes) -> str | None:
    """UTF-8 where it is valid, or where it is so but for few bytes: then the mistake is worth naming."""
    try:
        codecs.getdecoder("utf-8")(content, "strict")
    except UnicodeDecodeError as error:
        if content.count(0) > CONTROL_LIMIT * len(content):
            raise UnreadableText("this is a binary file, not a text") from None
        head = content[: error.start][-SAMPLE_BYTES:]
        sample = content[max(0, error.start - SAMPLE_BYTES) :][: 2 * SAMPLE_BYTES].decode("utf-8", "replace")
        wrong = sample.count("\ufffd")
        multibyte = sum(1 for character in sample if character > "\x7f") - wrong
        return "utf-8" if multibyte > 20 * wrong or (not head.isascii() and multibyte > 4 * wrong) else None
    return "utf-8"


def _legacy(content: bytes) -> str:
    """GB18030 or Big5, whichever reads more like Chinese; UTF-8 where neither does."""
    if len(content[:SAMPLE_BYTES].translate(None, _CONTROL_BYTES)) < 0.99 * len(content[:SAMPLE_BYTES]):
        raise UnreadableText("this is a binary file, not a text")
    scores = {codec: _likeness(content, codec) for codec in ("gb18030", "big5hkscs")}
    best = max(scores, key=lambda codec: scores[codec])
    if scores[best] < LIKENESS:
        return "utf-8"  # wrong there too, and decoding says at which byte
    return best


def _likeness(content: bytes, codec: str) -> float:
    """Share of everyday Chinese among the characters beyond ASCII; wrong bytes count against it."""
    text = content[:SAMPLE_BYTES].decode(codec, "replace")
    beyond = [character for character in text if character > "\x7f"]
    if not beyond:
        return 0.0
    wrong = beyond.count("\ufffd")
    return _share("".join(beyond), _COMMON | _MARKS) - 3 * wrong / len(beyond)


def _share(text: str, characters: frozenset[str]) -> float:
    return sum(1 for character in text if character in characters) / len(text) if text else 0.0


def _guess(content: bytes) -> str:
    """What charset_normalizer takes the bytes for, as a hint in an error; it is too slow for whole novels."""
    from charset_normalizer import from_bytes

    found = from_bytes(content[:32768]).best()
    return f", perhaps {found.encoding}" if found else ""
