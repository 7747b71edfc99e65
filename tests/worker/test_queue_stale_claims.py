"""A worker that slept between its question and the answer."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec

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

LEASE_SECONDS = 0.2
begun = threading.Event()


@job("stale.claim")
def begin(payload: dict[str, int]) -> None:
    begun.set()


def test_what_was_claimed_a_lease_ago_is_put_back_and_not_begun(database_url: str, tmp_path: Path) -> None:
    settings = load(None, None, {}, tmp_path).settings
    settings = msgspec.structs.replace(
        settings, jobs=msgspec.structs.replace(settings.jobs, lease_seconds=LEASE_SECONDS)
    )
    around = Surroundings(settings, tmp_path, "n", "host", Database(database_url, database_url))
    with connect(database_url, application="test") as queue:
        migrate(queue)
        seats = Seats(Identity(1, "n.1", "default", 1, None), around)
        seats.turn(time.monotonic())
        job_id = enqueue("stale.claim", conn=queue)
        seats.wake()
        turn = threading.Thread(target=lambda: seats.turn(time.monotonic()))
        with queue.transaction():
            queue.execute("SELECT FROM workerctl.worker FOR UPDATE")  # it cannot be answered
            asked_at = time.monotonic()
            turn.start()
            while time.monotonic() < asked_at + 3 * LEASE_SECONDS:
                turn.join(LEASE_SECONDS)
        turn.join()
        assert show_job(queue, job_id)["attempt"] == 1
        assert not seats.hand.active
        assert not begun.is_set()
        seats.turn(time.monotonic())
        assert begun.wait(10), "given back, and handed out anew"
        assert show_job(queue, job_id)["attempt"] == 2
        seats.leave()
        seats.runner.close()
