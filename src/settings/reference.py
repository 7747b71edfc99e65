"""Every key with its type, default, unit and one line on what it does, read from the settings types."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from .refusal import dotted
from .schema import Key, leaves
from .units import duration_text, size_text


class Entry(NamedTuple):
    """One key as users see it; `default` is TOML, None where the key is absent or must be given."""

    key: str
    expects: str
    unit: str  # "", duration, size or memory
    default: str | None
    required: bool
    text: str


def reference() -> list[Entry]:
    """The entries in the file's order; names that users choose are NAME."""
    return [
        Entry(
            key=dotted(path),
            expects=key.expects,
            unit=key.unit,
            default=_default(key),
            required=key.default is msgspec.NODEFAULT,
            text=key.text,
        )
        for path, key in leaves()
    ]


def _default(key: Key) -> str | None:
    if key.default is None or key.default is msgspec.NODEFAULT:
        return None
    if key.unit:
        text = duration_text(key.default) if key.unit == "duration" else size_text(key.default)
        return f'"{text}"'
    return _toml(key.default)


def _toml(value: Any) -> str:
    return "{}" if value == {} else msgspec.json.encode(value).decode()
