"""Chapter numbers as people write them: 一百二十回, 第十二章, 12, １２, XII, Twelve, the Twelfth. Pure."""

from __future__ import annotations

import re
import unicodedata

CHINESE = "〇零○一二两兩三四五六七八九十百千廿卅壹贰貳叁參肆伍陆陸柒捌玖拾佰"
_DIGITS = {
    **dict.fromkeys("〇零○", 0), **dict.fromkeys("一壹", 1), **dict.fromkeys("二两兩贰貳", 2),
    **dict.fromkeys("三叁參", 3), **dict.fromkeys("四肆", 4), **dict.fromkeys("五伍", 5),
    **dict.fromkeys("六陆陸", 6), **dict.fromkeys("七柒", 7), **dict.fromkeys("八捌", 8),
    **dict.fromkeys("九玖", 9),
}  # fmt: skip
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000}
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN_FORM = re.compile(r"M{0,3}(CM|CD|D?C{0,4})(XC|XL|L?X{0,4})(IX|IV|V?I{0,4})", re.IGNORECASE)


def _counted(words: str, *, step: int, first: int) -> dict[str, int]:
    return {word: step * value for value, word in enumerate(words.split(), first)}


_WORDS = {
    **_counted("one two three four five six seven eight nine ten eleven twelve thirteen fourteen", step=1, first=1),
    **_counted("fifteen sixteen seventeen eighteen nineteen", step=1, first=15),
    **_counted("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth", step=1, first=1),
    **_counted("thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth", step=1, first=13),
    **_counted("ten twenty thirty forty fifty sixty seventy eighty ninety hundred", step=10, first=1),
    **_counted("twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth", step=10, first=2),
}  # fmt: skip
WORD_PATTERN = "|".join(sorted(_WORDS, key=len, reverse=True))


def number_of(text: str) -> int | None:
    """The number that the text is, or None. Knows nothing over 9,999 in Chinese numerals."""
    text = unicodedata.normalize("NFKC", text).strip()
    if text.isdecimal():
        return int(text) if len(text) <= 9 else None
    if all(character in CHINESE for character in text):
        return _chinese(text)
    return _roman(text) or _english(text)


def _chinese(text: str) -> int | None:
    """Both 一百二十 and 一二〇; 廿 and 卅 are twenty and thirty."""
    text = text.replace("廿", "二十").replace("卅", "三十")
    if not any(character in _UNITS for character in text):
        return int("".join(str(_DIGITS[character]) for character in text))
    total, digit = 0, None
    for character in text:
        if character in _UNITS:
            total += (1 if digit in (None, 0) else digit) * _UNITS[character]
            digit = None
        else:
            digit = _DIGITS[character]
    return total + (digit or 0)


def _roman(text: str) -> int | None:
    if not text or not _ROMAN_FORM.fullmatch(text):
        return None
    values = [_ROMAN[letter] for letter in text.upper()]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return sum(-value if value < following else value for value, following in pairs)


def _english(text: str) -> int | None:
    words = re.split(r"[\s-]+", text.lower())
    values = [_WORDS.get(word) for word in words]
    if not values or None in values or len(values) > 2:
        return None
    return sum(value for value in values if value is not None)
