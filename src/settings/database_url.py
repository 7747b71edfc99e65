"""Reads database URLs, also those that Prisma users have."""

from __future__ import annotations

import re
from typing import NamedTuple

# psycopg refuses parameters that libpq does not know; these are Prisma's own
_PRISMA = frozenset(
    {"pgbouncer", "connection_limit", "schema", "pool_timeout", "socket_timeout", "statement_cache_size",
     "single_use_connections", "sslaccept", "sslidentity"}
)  # fmt: skip

_ENCODE = "a password with @ : / # ? must be %-encoded"


class DatabaseUrl(NamedTuple):
    """A URL that libpq takes, and what Prisma's parameters said."""

    url: str
    pooled: bool
    connection_limit: int | None
    dropped: tuple[str, ...]  # parameters without a meaning here


def read_database_url(text: str) -> DatabaseUrl:
    """Take Prisma's parameters out of a URL. Raises ValueError, without the password, where it is none."""
    if not re.match(r"(?i)postgres(ql)?://", text):
        raise ValueError("not a postgresql:// URL")
    url, _, query = text.partition("?")
    _check_parts(text, url)
    ours: dict[str, str] = {}
    kept: list[str] = []
    for parameter in filter(None, query.split("&")):
        name, _, value = parameter.partition("=")
        if name in _PRISMA:
            ours[name] = value
        else:
            kept.append(parameter)
    limit = ours.get("connection_limit", "")
    if limit and not (limit.isdigit() and int(limit) > 0):
        raise ValueError(f"connection_limit={limit} is not a whole number from 1")
    return DatabaseUrl(
        url=f"{url}?{'&'.join(kept)}" if kept else url,
        pooled=ours.get("pgbouncer", "").lower() == "true",
        connection_limit=int(limit) if limit else None,
        dropped=tuple(name for name in ours if name not in ("pgbouncer", "connection_limit")),
    )


def _check_parts(text: str, url: str) -> None:
    """What libpq would take for another part of the URL, and tell in its error, may be one of the password."""
    user, _, place = url.partition("://")[2].rpartition("@")
    if "@" in user or "/" in user:
        raise ValueError(_ENCODE)
    if re.search(r"%(?!(?!00)[0-9A-Fa-f]{2})", text):
        raise ValueError("a % that begins no escape must be written %25")
    for host in place.partition("/")[0].split(","):
        port = re.sub(r"^\[.*\]", "", host).partition(":")[2]
        if port and not (port.isdigit() and int(port) < 65536):
            raise ValueError(f"the port is not a number below 65536; {_ENCODE}")
