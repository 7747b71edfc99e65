"""Payloads, results and memories as JSON, as far as PostgreSQL can store it."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from .models import write_model
from .outcomes import InvalidPayload


def to_json(payload: Any) -> Any:
    """The payload as plain JSON types: mappings, lists, strings, numbers. Raises InvalidPayload where it has none."""
    try:
        return msgspec.to_builtins(payload, str_keys=True, enc_hook=write_model)
    except (TypeError, msgspec.MsgspecError, RecursionError) as error:
        raise InvalidPayload(f"payload is not JSON: {error}") from None


def holds_nul(json_text: bytes) -> bool:
    """Whether a JSON text holds the character NUL, which PostgreSQL's jsonb cannot store."""
    return b"\\u0000" in json_text and re.search(rb"(?<!\\)(?:\\\\)*\\u0000", json_text) is not None


def storable(text: str) -> str:
    """As PostgreSQL can store it: NUL and halves of characters, as in a file's name that is no UTF-8, are replaced."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def loggable(value: Any) -> Any:
    """One field of a log entry as plain JSON types; what has none that can be stored stands as its repr."""
    try:
        content = to_json(value)
        if not holds_nul(msgspec.json.encode(content)):
            return content
    except (InvalidPayload, ValueError, RecursionError):
        pass
    return storable(repr(value))


def holds_no_number(content: Any) -> bool:
    """Whether a number in it would silently become null."""
    match content:
        case float():
            return not math.isfinite(content)
        case dict():
            return any(map(holds_no_number, content.values()))
        case list() | tuple():
            return any(map(holds_no_number, content))
    return False


def is_nested_over(levels: int, content: Any) -> bool:
    """Whether there are more mappings and lists within each other than so many."""
    layer = [content] if isinstance(content, dict | list | tuple) else []
    for _ in range(levels):
        layer = [inner for outer in layer for inner in (outer.values() if isinstance(outer, dict) else outer)
                 if isinstance(inner, dict | list | tuple)]  # fmt: skip
    return bool(layer)
