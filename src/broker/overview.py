"""What users ask about the fleet as a whole: nodes, queues, scheduled tasks."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from .connection import statement

Connection = psycopg.Connection[Any]
Row = dict[str, Any]


def nodes(connection: Connection) -> list[Row]:
    """Every machine that ever was, with whether its lease holds and who is primary."""
    return _rows(connection, "list_nodes")


def queues(connection: Connection) -> list[Row]:
    """Every queue with how many jobs are due, later and running."""
    return _rows(connection, "list_queues")


def schedules(connection: Connection) -> list[Row]:
    """Every scheduled task that a primary has known, with its last tick."""
    return _rows(connection, "list_schedules")


def pause_queue(connection: Connection, name: str, *, paused: bool) -> None:
    """Stop or go on handing out jobs of a queue; running ones are not touched."""
    connection.execute(statement("pause_queue"), {"name": name, "paused": paused})


def _rows(connection: Connection, name: str) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(name)).fetchall()
