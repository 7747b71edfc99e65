"""A worker keeps its lease while it claims all the time, and begins nothing that was claimed under one that is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from workerctl import job
from workerctl.broker.connection import connect
from workerctl.broker.found import Database
from workerctl.broker.jobs import show_job
from workerctl.broker.migrate import migrate
from workerctl.broker.surroundings import Surroundings
from workerctl.producer import enqueue
from workerctl.settings import load
from workerctl.worker.identity import Identity
from workerctl.worker.seats import Seats

SHORT_LEASE_SECONDS = 0.4
begun = threading.Event()


@job("stale.claim")
def begin(payload: dict[str, int]) -> None:
    begun.set()


@pytest.fixture
def queue(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(database_url, application="test") as queue:
        migrate(queue)
        yield queue


def seats_of(database_url: str, home: Path, lease_seconds: float) -> Seats:
    settings = load(None, None, {}, home).settings
    jobs = msgspec.structs.replace(settings.jobs, lease_seconds=lease_seconds)
    settings = msgspec.structs.replace(settings, jobs=jobs)
    around = Surroundings(settings, home, "n", "host", Database(database_url, database_url))
    return Seats(Identity(1, "n.1", "default", 1, None), around)


@pytest.mark.parametrize("asked_after", [0.0, 0.75], ids=["asked at once", "asked late in the lease"])
def test_what_was_claimed_under_a_lease_that_is_over_is_put_back_and_not_begun(
    queue: psycopg.Connection[Any], database_url: str, tmp_path: Path, asked_after: float
) -> None:
    begun.clear()
    seats = seats_of(database_url, tmp_path, SHORT_LEASE_SECONDS)
    renewed_at = time.monotonic()
    seats.turn(renewed_at)
    seats.turn(renewed_at)
    job_id = enqueue("stale.claim", conn=queue)
    seats.wake()
    turn = threading.Thread(target=lambda: seats.turn(time.monotonic()))
    with queue.transaction():
        queue.execute("SELECT FROM workerctl.worker FOR UPDATE")  # it cannot be answered
        while time.monotonic() < renewed_at + asked_after * SHORT_LEASE_SECONDS:
            time.sleep(0.01)
        turn.start()
        while time.monotonic() < renewed_at + 1.1 * SHORT_LEASE_SECONDS:
            turn.join(0.01)
    turn.join()
    assert show_job(queue, job_id)["attempt"] == 1
    assert not seats.hand.active
    assert not begun.is_set()
    seats.turn(time.monotonic())
    assert begun.wait(10), "given back, and handed out anew"
    assert show_job(queue, job_id)["attempt"] == 2
    seats.leave()
    seats.runner.close()


def test_a_worker_that_claims_all_the_time_renews_its_lease(
    queue: psycopg.Connection[Any], database_url: str, tmp_path: Path
) -> None:
    seats = seats_of(database_url, tmp_path, 30.0)
    seats.turn(time.monotonic())
    seats.turn(time.monotonic())
    first = lease_end(queue)
    deadline = time.monotonic() + 10
    while lease_end(queue) == first:
        assert time.monotonic() < deadline, f"not renewed while {seats.hand.jobs_done} jobs were run"
        done = seats.hand.jobs_done
        enqueue("stale.claim", conn=queue)
        seats.wake()
        while seats.hand.jobs_done == done and time.monotonic() < deadline:
            seats.turn(time.monotonic())
    assert seats.hand.jobs_done > 1
    seats.leave()
    seats.runner.close()


def lease_end(queue: psycopg.Connection[Any]) -> object:
    row = queue.execute("SELECT lease_until FROM workerctl.worker").fetchone()
    assert row is not None
    return row[0]
