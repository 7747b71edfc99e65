"""What a key of the file is made of: its meaning, what it accepts, and the table it stands in."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Meta

from .redact import redact

SECRETS = frozenset({"database_url", "database_url_direct", "access_key_id", "secret_access_key", "session_token"})


def key(text: str, expects: str, *, unit: str = "", **limits: Any) -> Meta:
    """What a key means and accepts. Units: duration, size, or memory: a size or a share of what there is."""
    return Meta(description=text, extra={"expects": expects, "unit": unit}, **limits)


def duration(text: str, **limits: float) -> Meta:
    return key(
        text,
        'a duration such as "500ms", "10s", "5m", "2h" or a number of seconds',
        unit="duration",
        **limits,
    )


def derived(text: str) -> Meta:
    """A field that `load` works out; no key of the file sets it."""
    return Meta(description=text, extra={"derived": True})


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table of the file. Its repr hides secrets."""

    def __repr__(self) -> str:
        shown = (f"{name}={_shown(name, getattr(self, name))}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown(name: str, value: Any) -> str:
    if name not in SECRETS or value is None:
        return repr(value)
    return repr(redact(value)) if "://" in value else "'***'"
