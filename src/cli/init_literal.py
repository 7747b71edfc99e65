"""Pure: reads the literal objects of a JavaScript file, for machines without node. Evaluates nothing."""

from __future__ import annotations

import re
from typing import Any

_SPACE = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0x[0-9a-fA-F]+|(?:\d[\d_]*)(?:\.\d+)?(?:[eE][+-]?\d+)?)")
_NAME = re.compile(r"[^\W\d]\w*|\$\w*")
_EXPORTED = re.compile(r"(?:module\.exports|exports\.default)\s*=|export\s+default\b")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_WORDS = {"true": True, "false": False, "null": None, "undefined": None}


class NotLiteral(ValueError):
    """Something stands there that only JavaScript can evaluate; the message has the line."""


def read_literal(text: str) -> Any:
    """The value that a file exports, or a JSON file's. Raises NotLiteral where it is not written out."""
    exported = _EXPORTED.search(_blank_comments(text))
    reader = _Reader(text, exported.end() if exported else 0)
    value = reader.value()
    reader.skip(";")
    if reader.rest():
        raise reader.refusal("more than one literal")
    return value


def _blank_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda found: " " * len(found.group()), text, flags=re.DOTALL)


class _Reader:
    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self._at = position

    def value(self) -> Any:
        self._space()
        first = self._text[self._at : self._at + 1]
        if first == "{":
            return self._object()
        if first == "[":
            return self._array()
        if first in ("'", '"', "`") and first:
            return self._string(first)
        if found := _NUMBER.match(self._text, self._at):
            self._at = found.end()
            return _number(found.group().replace("_", ""))
        found = _NAME.match(self._text, self._at)
        if found and found.group() in _WORDS:
            self._at = found.end()
            return _WORDS[found.group()]
        raise self.refusal(f"{found.group()!r} is no literal" if found else f"{first!r} is no literal")

    def skip(self, character: str) -> bool:
        """Whether it stood next."""
        self._space()
        if self._text.startswith(character, self._at):
            self._at += len(character)
            return True
        return False

    def rest(self) -> str:
        self._space()
        return self._text[self._at :]

    def refusal(self, reason: str) -> NotLiteral:
        return NotLiteral(f"line {self._text.count(chr(10), 0, self._at) + 1}: {reason}")

    def _object(self) -> dict[str, Any]:
        self.skip("{")
        found: dict[str, Any] = {}
        while not self.skip("}"):
            key = self._key()
            if not self.skip(":"):
                raise self.refusal(f"expected a value for {key!r}")
            found[key] = self.value()
            self._comma("}")
        return found

    def _array(self) -> list[Any]:
        self.skip("[")
        found = []
        while not self.skip("]"):
            found.append(self.value())
            self._comma("]")
        return found

    def _comma(self, end: str) -> None:
        if not self.skip(",") and not self._text.startswith(end, self._at):
            raise self.refusal("an expression, not a literal")

    def _key(self) -> str:
        self._space()
        first = self._text[self._at : self._at + 1]
        if first in ("'", '"') and first:
            return self._string(first)
        found = _NAME.match(self._text, self._at) or _NUMBER.match(self._text, self._at)
        if found is None:
            raise self.refusal("expected a key")
        self._at = found.end()
        return found.group()

    def _string(self, quote: str) -> str:
        self._at += 1
        parts: list[str] = []
        while (character := self._text[self._at : self._at + 1]) != quote:
            if not character or (character == "\n" and quote != "`"):
                raise self.refusal("a string without an end")
            if quote == "`" and self._text.startswith("${", self._at):
                raise self.refusal("a template with ${...} is no literal")
            self._at += 1
            parts.append(self._escaped() if character == "\\" else character)
        self._at += 1
        # JavaScript counts in UTF-16: two escapes may be one character
        return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _escaped(self) -> str:
        if found := re.compile(r"u\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})").match(self._text, self._at):
            self._at = found.end()
            return chr(int(next(filter(None, found.groups())), 16))
        character = self._text[self._at : self._at + 1]
        self._at += 1
        return "" if character == "\n" else _ESCAPES.get(character, character)

    def _space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None
        self._at = found.end()


def _number(text: str) -> int | float:
    if "x" in text:
        return int(text, 16)
    return float(text) if re.search(r"[.eE]", text) else int(text)
