"""What users ask about jobs and do to them: list, show, wait, retry, cancel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from ..contract import Exit, WorkerctlError
from .connection import statement
from .line import about_seconds
from .waiting import waits_because

Row = dict[str, Any]

LARGEST_ID = 2**63 - 1
LONGEST_NUMBER = 4300  # digits, of Python's `sys.set_int_max_str_digits`

WAITS_FOR = ("limits", "rates", "held", "suspect", "batch", "ripe_in_seconds", "seats")  # of what a job waits for
SWEEP_JOBS = 2000  # children of a batch that are cancelled or redone in one transaction: 50 ms
BEING_CANCELLED_SQLSTATE = "WQ005"

STATUSES = ("pending", "running", "waiting", "succeeded", "dead", "cancelled")


class NoSuchJob(WorkerctlError):
    """No job has this id, or retention has removed it."""


class NoSuchStatus(WorkerctlError):
    """No job can have this status."""

    exit_code = Exit.USAGE


class BeingCancelled(WorkerctlError):
    """A job of this batch cannot be retried before all of them are cancelled."""


def list_jobs(
    connection: psycopg.Connection[Any],
    *,
    status: str | None = None,
    kind: str | None = None,
    user_id: str | None = None,
    parent_id: int | None = None,
    limit: int = 50,
) -> list[Row]:
    """Newest first; every filter given must match. Raises NoSuchStatus."""
    if status is not None and status not in STATUSES:
        raise NoSuchStatus(f"no status {status!r}; there are {', '.join(STATUSES)}")
    wanted = {"status": status, "kind": kind, "user_id": user_id, "parent_id": parent_id, "limit": limit}
    return [_public(row) for row in _rows(connection, "list_jobs", wanted)]


def show_job(connection: psycopg.Connection[Any], job_id: int) -> Row:
    """Everything about one job, with `waits_because` where it has not begun, and about how long. Raises NoSuchJob."""
    rows = _rows(connection, "show_job", {"id": job_id}) if abs(job_id) <= LARGEST_ID else []
    if not rows:
        raise NoSuchJob(f"no job {job_id}; see `workerctl jobs list`")
    job, detail = rows[0], None
    if job["status"] == "pending" and job["served"] and not job["paused"]:
        found = connection.execute(statement("why_waiting"), {"id": job_id}).fetchone()
        detail = found[0] if found is not None else None
    waits = {"waits_because": waits_because(job, detail), "waits_seconds": detail and about_seconds(job, detail)}
    return _public(job) | waits | {"waits_for": detail and {name: detail[name] for name in WAITS_FOR}}


def retry_jobs(connection: psycopg.Connection[Any], ids: list[int], so_far: Callable[[int], object] = int) -> int:
    """Redo ended jobs; of a batch just the children that did not succeed. Returns how many jobs will run.

    `so_far` is told after each transaction how many do. Raises BeingCancelled for a batch that still is.
    """
    count = 0
    for job_id in ids:
        try:
            count += _value(connection, "retry_job", {"id": job_id, "most": SWEEP_JOBS})
        except psycopg.Error as error:
            if error.sqlstate == BEING_CANCELLED_SQLSTATE:
                raise BeingCancelled(f"{error.diag.message_primary}; {error.diag.message_hint}") from None
            raise
        count = _sweep(connection, [job_id], count, so_far)
    return count


def cancel_jobs(connection: psycopg.Connection[Any], ids: list[int], so_far: Callable[[int], object] = int) -> int:
    """Cancel unfinished jobs and their children; returns how many were ended or asked to stop.

    `so_far` is told after each transaction how many were. What this leaves behind, the fleet's primary goes on with.
    """
    count = 0
    for first in range(0, len(ids), SWEEP_JOBS):
        some = ids[first : first + SWEEP_JOBS]
        count += _value(connection, "cancel_jobs", {"ids": some, "most": SWEEP_JOBS})
        count = _sweep(connection, some, count, so_far)
    return count


def sweep_on(connection: psycopg.Connection[Any], asked: list[int] | None, most: int) -> tuple[int, bool]:
    """Go on with what these batches were asked for: how many jobs, and whether there is more.

    None: with what nobody has gone on with for 10 s.
    """
    row = connection.execute(statement("sweep_on"), {"asked": asked, "most": most}).fetchone()
    assert row is not None
    return row[0], row[1]


def _sweep(connection: psycopg.Connection[Any], asked: list[int], count: int, so_far: Callable[[int], object]) -> int:
    more = True
    while more:
        so_far(count)
        jobs, more = sweep_on(connection, asked, SWEEP_JOBS)
        count += jobs
    return count


def job_log(connection: psycopg.Connection[Any], job_id: int, limit: int = 200) -> list[Row]:
    """The last lines of a job's execution log, oldest first."""
    return _rows(connection, "job_log", {"id": job_id, "limit": limit})


def job_memory(connection: psycopg.Connection[Any], job_id: int) -> Row:
    """What a job remembers for its next attempts."""
    return {row["key"]: row["value"] for row in _rows(connection, "job_memory", {"id": job_id})}


def _rows(connection: psycopg.Connection[Any], name: str, values: Row) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        set_json_loads(_loads, cursor)
        return cursor.execute(statement(name), values).fetchall()


def _loads(text: str | bytes) -> Any:
    return json.loads(text, parse_int=_number)


def _number(digits: str) -> int | str:
    """A number that Python neither reads nor writes, such as 1e5000 of SQL, is a text: it must not hide other jobs."""
    return int(digits) if len(digits) <= LONGEST_NUMBER else digits


def _value(connection: psycopg.Connection[Any], name: str, values: Row) -> int:
    row = connection.execute(statement(name), values).fetchone()
    assert row is not None
    return int(row[0])


def _public(row: Row) -> Row:
    done, total = row.pop("progress_done"), row.pop("progress_total")
    return row | {"progress": None if total is None else {"done": done, "total": total}}
