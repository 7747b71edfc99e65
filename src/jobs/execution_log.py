"""`log.write`: many small entries of jobs' execution logs, written in one COPY."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from .. import Context, Fail, job

if TYPE_CHECKING:
    import psycopg

_COPY = """
COPY workerctl.execution_log (job_id, attempt, level, message, fields, logged_at) FROM STDIN
"""


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a job's execution log."""

    message: str
    logged_at: dt.datetime
    level: str = "info"
    job_id: int | None = None
    attempt: int | None = None
    fields: dict[str, Any] = {}


@job("log.write", batch=500, batch_wait_seconds=1)
def write(entries: list[LogEntry], ctx: Context) -> list[Fail | None]:
    """Write all entries in one transaction; where the table refuses one of them, each for itself."""
    import psycopg  # what registers a kind stays light

    with ctx.database() as connection:
        try:
            _copy(connection, entries)
        except psycopg.DataError:
            return [_alone(connection, entry) for entry in entries]
    return [None] * len(entries)


def _alone(connection: psycopg.Connection[Any], entry: LogEntry) -> Fail | None:
    import psycopg

    try:
        _copy(connection, [entry])
    except psycopg.DataError as error:
        return Fail(f"the execution log refuses this entry: {str(error).splitlines()[0]}")
    return None


def _copy(connection: psycopg.Connection[Any], entries: list[LogEntry]) -> None:
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for entry in entries:
            fields = msgspec.json.encode(entry.fields).decode()
            copy.write_row((entry.job_id, entry.attempt, entry.level, entry.message, fields, entry.logged_at))
