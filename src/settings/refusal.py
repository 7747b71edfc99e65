"""Words for what is refused: one line with file, key, value and what would be right, and never a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..contract import Unusable
from .redact import HIDDEN, redact
from .types import SECRETS

_SHOWN_CHARACTERS = 120
_SECRET_WORDS = ("secret", "password", "passwd", "token", "access_key", "api_key", "apikey", "credential")


def refused(source: str, path: Sequence[str], value: Any, reason: str) -> Unusable:
    """The error for a key that cannot be; `source` is the file or the environment name it stands in."""
    return Unusable(f"{source}: {dotted(path)} = {shown(path, value)}: {reason}")


def dotted(path: Sequence[str]) -> str:
    """The key as TOML writes it."""
    return ".".join(part if _bare(part) else json.dumps(part, ensure_ascii=False) for part in path)


def parts(key: str) -> list[str]:
    """The path of a key that `dotted` wrote."""
    return [json.loads(part) if part.startswith('"') else part for part in re.findall(r'"(?:[^"\\]|\\.)*"|[^.]+', key)]


def shown(path: Sequence[str], value: Any) -> str:
    """The value in one short line; hidden where it is or may hold a secret."""
    if isinstance(value, dict):
        return "{...}"
    last = path[-1].lower()
    if last in SECRETS and not (isinstance(value, str) and "://" in value):
        return HIDDEN
    if last not in SECRETS and any(word in last for word in _SECRET_WORDS):
        return HIDDEN
    text = json.dumps(redact(value) if isinstance(value, str) else value, ensure_ascii=False, default=str)
    text = text if isinstance(value, str) else redact(text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def nearest(path: Sequence[str], known: Iterable[Sequence[str]]) -> str | None:
    """The known key that was probably meant: spelled nearly so, else of the same name in another table."""
    from difflib import get_close_matches

    names = {dotted(each): each for each in known}
    close = get_close_matches(dotted(path), names, n=1, cutoff=0.75)
    if close:
        return close[0]
    last_parts: dict[str, str] = {}
    for name, each in names.items():
        last_parts.setdefault(each[-1], name)
    close = get_close_matches(path[-1], last_parts, n=1, cutoff=0.8)
    return last_parts[close[0]] if close else None


def _bare(part: str) -> bool:
    return bool(part) and part.isascii() and all(letter.isalnum() or letter in "_-" for letter in part)
