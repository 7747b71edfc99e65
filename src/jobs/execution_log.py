"""`log.write`: many small entries of jobs' execution logs, written in one COPY."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from .. import Context, job

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


@job("log.write", batch=500)
def write(entries: list[LogEntry], ctx: Context) -> None:
    """Write all entries in one transaction: all of them or none."""
    with (
        ctx.database() as connection,
        connection.transaction(),
        connection.cursor() as cursor,
        cursor.copy(_COPY) as copy,
    ):
        for entry in entries:
            fields = msgspec.json.encode(entry.fields).decode()
            copy.write_row((entry.job_id, entry.attempt, entry.level, entry.message, fields, entry.logged_at))
