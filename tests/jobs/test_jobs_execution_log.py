"""log.write: many entries, one COPY; one that the table refuses fails alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from workerctl.handler import Context, Fail, InvalidPayload, handlers, validate
from workerctl.jobs.execution_log import LogEntry, write

NOW = dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)


def entry(**changes: Any) -> LogEntry:
    return validate(handlers()["log.write"], {"message": "made", "logged_at": NOW.isoformat(), **changes})


def test_entries_become_rows_in_their_order(queue: psycopg.Connection[Any], queue_context: Callable[..., Context]):
    entries = [entry(job_id=n, attempt=1, message=f"第{n}张\t\\N\n", fields={"n": n, "名": ["图"]}) for n in range(500)]
    write(entries, queue_context("log.write"))
    rows = queue.execute(
        "SELECT job_id, attempt, level, message, fields, logged_at FROM workerctl.execution_log ORDER BY id"
    ).fetchall()
    assert [tuple(row.values()) if isinstance(row, dict) else row for row in rows] == [
        (n, 1, "info", f"第{n}张\t\\N\n", {"n": n, "名": ["图"]}, NOW) for n in range(500)
    ]


def test_an_entry_needs_no_job(queue: psycopg.Connection[Any], queue_context: Callable[..., Context]):
    write([entry(level="error")], queue_context("log.write"))
    row = queue.execute("SELECT job_id, attempt, level FROM workerctl.execution_log").fetchone()
    assert row in ((None, None, "error"), {"job_id": None, "attempt": None, "level": "error"})


def test_one_entry_that_the_table_refuses_fails_alone(
    queue: psycopg.Connection[Any], queue_context: Callable[..., Context]
):
    outcomes = write([entry(), entry(job_id=2**70), entry()], queue_context("log.write"))
    assert [type(outcome) for outcome in outcomes] == [type(None), Fail, type(None)]
    assert "out of range" in str(outcomes[1])
    assert queue.execute("SELECT count(*) FROM workerctl.execution_log").fetchone() == (2,)


def test_the_handler_takes_up_to_500_jobs_at_once():
    assert handlers()["log.write"].batch == 500


@pytest.mark.parametrize(
    "payload", [{}, {"message": 5, "logged_at": "now"}, {"message": "a", "logged_at": "yesterday"}]
)
def test_an_entry_that_does_not_fit_is_refused(payload: dict):
    with pytest.raises(InvalidPayload, match=r"log\.write: payload does not fit"):
        validate(handlers()["log.write"], payload)
