"""Load without a pause: what a worker does only now and then it does all the same."""

from __future__ import annotations

import time

import pytest
from lifecycle_house import CONFIG, House

from workerctl.producer import enqueue

LEASE_SECONDS = 16  # about the shortest that may be set
LOAD_SECONDS = 1.5 * LEASE_SECONDS


@pytest.mark.long
def test_workers_that_never_rest_keep_their_claims_hear_cancellations_and_say_what_they_did(house: House) -> None:
    house.configure(f'{CONFIG}lease = "{LEASE_SECONDS}s"\n')
    house.start(2)
    house.until_ready(2)
    unwanted = house.gated()
    jobs, cancelled_at = [], None
    ends_at = time.monotonic() + LOAD_SECONDS
    with house.database() as queue:
        workers = queue.execute("SELECT id FROM workerctl.worker ORDER BY id").fetchall()
        while time.monotonic() < ends_at:
            jobs.append(enqueue("add", {"a": 1}, conn=queue))
            if cancelled_at is None and time.monotonic() > ends_at - LOAD_SECONDS / 2:
                house.ok("jobs", "cancel", unwanted)
                cancelled_at = time.time()
        assert queue.execute("SELECT id FROM workerctl.worker ORDER BY id").fetchall() == workers
    [stats] = [row for row in house.json("jobs", "stats") if row["kind"] == "add"]
    assert house.until_status(jobs[-1], "succeeded")["attempt"] == 1
    assert stats["1m"]["succeeded"] > 0.8 * len(jobs), f"of {len(jobs)}"
    assert cancelled_at is not None
    [[*_, heard_at]] = house.noted("cancelled", unwanted)
    assert float(heard_at) - cancelled_at < 5
    assert "given this worker up" not in house.ok("logs", "--err", "--lines", "1000")
