"""Pure: request bodies as typed values; what does not fit says which field is wrong."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Wrong(Exception):
    """The body does not fit. `path` is the wrong field, dotted; empty: the body as a whole."""

    def __init__(self, message: str, path: str, *, unknown: bool = False, missing: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self.unknown = unknown
        self.missing = missing


def body_as(body: bytes, kind: type[T]) -> T:
    """The JSON body as this type, without any coercion. Raises Wrong."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Wrong(f"We could not parse the JSON body of your request: {error}", "") from None


def _wrong(message: str) -> Wrong:
    words, _, place = message.partition(" - at `$")
    path = re.sub(r"\[(\d+|\.\.\.)]", r".\1", place.rstrip("`")).strip(".")
    named = re.search(r"(unknown|missing required) field `([^`]+)`", words)
    if named is None:
        return Wrong(words, path)
    full = f"{path}.{named[2]}" if path else named[2]
    return Wrong(words, full, unknown=named[1] == "unknown", missing=named[1] != "unknown")


def as_json(value: Any) -> Any:
    return msgspec.to_builtins(value)
