"""What users ask about the fleet as a whole: nodes, queues, scheduled tasks."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from .connection import statement

Connection = psycopg.Connection[Any]
Row = dict[str, Any]


def nodes(connection: Connection) -> list[Row]:
    """Every machine that lives, or did as long ago as retention keeps: whether its lease holds, and who is primary."""
    return _rows(connection, "list_nodes")


def workers(connection: Connection) -> list[Row]:
    """Every worker of the fleet that is registered; one whose lease is over waits to be given up."""
    return _rows(connection, "list_workers")


def schedules(connection: Connection) -> list[Row]:
    """Every scheduled task that a primary has known, with its last tick."""
    return _rows(connection, "list_schedules")


def duties(connection: Connection) -> list[Row]:
    """What the primary does of itself: when it last did, and how long that took."""
    return _rows(connection, "list_duties")


def pause_queue(connection: Connection, name: str, *, paused: bool) -> None:
    """Stop or go on handing out jobs of a queue; running ones are not touched.

    Every lane says whether its queue is paused. One that an open transaction is making would not hear of it: it is
    waited for, and who makes a lane afterwards reads what holds from now on.
    """
    with connection.transaction():
        connection.execute(statement("lock_lanes"))
        connection.execute(statement("pause_queue"), {"name": name, "paused": paused})


def pause_schedule(connection: Connection, name: str, *, paused: bool) -> bool:
    """Stop or go on making a task's due times; False where there is no such task."""
    return connection.execute(statement("pause_schedule"), {"name": name, "paused": paused}).fetchone() is not None


def run_schedule(connection: Connection, name: str) -> int | None:
    """Enqueue a task now; the job's id, or None where there is no such task."""
    row = connection.execute(statement("run_schedule"), {"name": name}).fetchone()
    return None if row is None else int(row[0])


def _rows(connection: Connection, name: str) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(name)).fetchall()
