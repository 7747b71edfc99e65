"""What users ask about limits and do to them; the counting itself is the database's."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from .connection import statement

Connection = psycopg.Connection[Any]
Row = dict[str, Any]


def configure_limits(
    connection: Connection, limits: dict[str, int], rates: dict[str, tuple[int, float]], admission: dict[str, int]
) -> None:
    """Make the config's limits and admission (name -> most) and rates (name -> (most, seconds)) those that hold."""
    texts = {
        "admission": msgspec.json.encode(admission).decode(),
        "limits": msgspec.json.encode(limits).decode(),
        "rates": msgspec.json.encode(
            {name: {"most": most, "period_seconds": period} for name, (most, period) in rates.items()}
        ).decode(),
    }
    connection.execute(statement("configure_limits"), texts)
    _let_in(connection)


def tidy_limits(connection: Connection, after: str = "") -> str:
    """Upkeep: remove what counts no more, let in who waits beside a free seat of the 1,000 keys that come after one.

    Returns the key to go on after, "" at the end.
    """
    row = connection.execute(statement("tidy_limits"), [after]).fetchone()
    assert row is not None
    return str(row[0])


def list_limits(connection: Connection) -> list[Row]:
    """Every limit and rate with how much of it is used; of a key's limit each key in use."""
    return _rows(connection, "list_limits", {})


def list_seats(connection: Connection) -> list[Row]:
    """Who holds each seat, since when and where."""
    return _rows(connection, "list_seats", {})


def known_kinds(connection: Connection) -> list[str]:
    """Every kind that a worker of the fleet has known."""
    return [str(row["name"]) for row in _rows(connection, "list_kinds", {})]


def set_limit(connection: Connection, name: str, most: int | None) -> None:
    """Change a limit for the whole fleet at once; None takes away one that the config does not have."""
    connection.execute(statement("set_limit"), {"name": name, "most": most})
    _let_in(connection)


def reset_limit(connection: Connection, name: str) -> bool:
    """Back to what the config says; False where there is no such limit."""
    found = bool(_rows(connection, "reset_limit", {"name": name}))
    _let_in(connection)
    return found


def _let_in(connection: Connection) -> None:
    """Who was kept out by a limit as it was before."""
    after = tidy_limits(connection)
    while after:
        after = tidy_limits(connection, after)


def _rows(connection: Connection, name: str, values: Row) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(name), values).fetchall()
