"""What users ask about calls of providers: what they cost, what nobody knows the end of, who is left alone."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from ..contract import Exit, WorkerctlError
from .connection import statement

Row = dict[str, Any]

GROUPS = ("user", "plan", "model", "provider", "kind")


class NoSuchGroup(WorkerctlError):
    """Costs are not grouped by this."""

    exit_code = Exit.USAGE


def spend(connection: psycopg.Connection[Any], by: str, seconds: float) -> list[Row]:
    """The costs of the last `seconds`, grouped; the group's name stands under its own key. Raises NoSuchGroup."""
    if by not in GROUPS:
        raise NoSuchGroup(f"spend is grouped by {', '.join(GROUPS)}, not by {by!r}")
    rows = _rows(connection, "spend", {"by": by, "seconds": seconds})
    return [{by: row.pop("name"), **row} for row in rows]


def unresolved_calls(connection: psycopg.Connection[Any], seconds: float) -> list[Row]:
    """Calls that may have been paid for nothing: compare them with the provider's bill."""
    return _rows(connection, "unresolved_calls", {"seconds": seconds})


def paused_providers(connection: psycopg.Connection[Any]) -> list[Row]:
    """Providers that said "too many"."""
    return _rows(connection, "paused_providers", {})


def _rows(connection: psycopg.Connection[Any], name: str, values: Row) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(name), values).fetchall()
