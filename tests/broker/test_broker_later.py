"""Jobs for later stand behind all that is due, out of every claim's way, and come forward when their time is there."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg
import pytest

from workerctl import enqueue, enqueue_many
from workerctl.broker.exchange import Again, Request, exchange
from workerctl.broker.fleet import bring_due, next_start_seconds, queues_with_due_jobs

Queue = psycopg.Connection[Any]

LATER_JOBS = 3000
A_LANE = 200  # jobs that come forward at once,
IN_ALL = 2000  # however many lanes there are


def in_an_hour() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)


def in_a_moment() -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.9)


def pass_an_hour(queue: Queue) -> None:
    """What is for later is due now; whoever moves a time moves the rank with it."""
    queue.execute(
        "UPDATE workerctl.live SET run_at = run_at - interval '1 hour',"
        " rank = workerctl.later_rank(run_at - interval '1 hour', priority) WHERE status = 'pending' AND run_at > now()"
    )


@pytest.mark.parametrize("due", [0, 1])
def test_a_claim_reads_none_of_the_jobs_for_later(queue: Queue, new_worker: Any, due: int) -> None:
    enqueue_many([{"kind": "a", "run_at": in_an_hour()}] * LATER_JOBS, conn=queue)
    enqueue_many([{"kind": "a"}] * due, conn=queue)
    worker = new_worker()
    with worker.connection.transaction():
        assert len(exchange(worker.connection, worker.id, Request(want=8)).claimed or []) == due
        (read,) = worker.connection.execute("SELECT workerctl.stepped_over()").fetchone()
    assert read < 20
    assert queues_with_due_jobs(queue) == {}


def test_what_falls_due_is_found_by_a_look_that_finds_nothing_else(queue: Queue, new_worker: Any) -> None:
    enqueue_many([{"kind": "a", "run_at": in_an_hour()}] * (A_LANE + 1), conn=queue)
    worker = new_worker()
    assert worker.claims(1) == []
    pass_an_hour(queue)
    assert len(worker.claims(A_LANE + 1)) == A_LANE  # as many as come forward at once
    assert len(worker.claims(A_LANE + 1)) == 1


def test_what_falls_due_in_many_lanes_comes_forward_piece_by_piece(queue: Queue) -> None:
    lanes = IN_ALL // A_LANE + 1
    enqueue_many([{"kind": f"k{n % lanes}", "run_at": in_an_hour()} for n in range(lanes * A_LANE)], conn=queue)
    pass_an_hour(queue)
    assert [bring_due(queue) for _ in range(3)] == [IN_ALL, A_LANE, 0]


def test_what_is_brought_forward_stands_by_its_time_and_priority(queue: Queue, new_worker: Any) -> None:
    urgent = enqueue("a", run_at=in_an_hour(), priority=10, conn=queue)
    plain = enqueue("a", run_at=in_an_hour(), conn=queue)
    pass_an_hour(queue)
    now = enqueue("a", conn=queue)
    assert bring_due(queue) == 2
    assert bring_due(queue) == 0
    assert [job for job, _ in new_worker().claims(3)] == [urgent, plain, now]


def test_a_retry_and_a_snooze_wait_among_the_jobs_for_later(queue: Queue, new_worker: Any) -> None:
    enqueue_many([{"kind": "a"}] * 2, conn=queue)
    worker = new_worker()
    failed, snoozed = worker.claims(2)
    worker.says(
        again=[
            Again(*failed, failed=True, delay_seconds=60),
            Again(*snoozed, delay_seconds=30),
        ]
    )
    ranks = queue.execute("SELECT id, rank >= workerctl.later() FROM workerctl.live ORDER BY rank").fetchall()
    assert ranks == [(snoozed[0], True), (failed[0], True)]
    assert worker.claims(2) == []
    pass_an_hour(queue)
    assert [job for job, _ in worker.claims(2)] == [snoozed[0], failed[0]]


def test_what_was_due_once_stays_due_though_the_clock_be_set_back(queue: Queue, new_worker: Any) -> None:
    jobs = enqueue_many([("a", {})] * 3, conn=queue)
    enqueue("a", run_at=dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60), conn=queue)
    queue.execute(  # as they would stand there if the clock had been an hour ahead
        "UPDATE workerctl.live SET run_at = run_at + interval '1 hour', created_at = created_at + interval '1 hour',"
        " rank = rank + CASE WHEN rank < workerctl.later() THEN 1 ELSE 256 END * 3600000"
    )
    assert list(queues_with_due_jobs(queue)) == ["default"]
    worker = new_worker()
    assert [job_id for job_id, _ in worker.claims(8)] == jobs
    assert worker.claims(8) == []


def test_an_agent_hears_of_what_is_to_begin_before_its_next_look(
    queue: Queue, new_worker: Any, database_url: str
) -> None:
    """Else a job in 0.3 s would begin up to a second late."""
    worker = new_worker()
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN workerctl")

        def rings() -> int:
            heard = len(list(listener.notifies(timeout=0.5, stop_after=1)))
            queue.execute("SELECT setval('workerctl.ring_clock', 0)")  # the next one is not too soon after it
            return heard

        enqueue_many([{"kind": "a"}] * 2, conn=queue)
        assert rings() == 1
        failed, snoozed = worker.claims(2)
        worker.says(again=[Again(*failed, failed=True, delay_seconds=60)])
        enqueue("a", run_at=in_an_hour(), conn=queue)
        assert rings() == 0
        assert next_start_seconds(queue) > 50
        worker.says(again=[Again(*snoozed, delay_seconds=0.9)])
        assert rings() == 1
        assert next_start_seconds(queue) <= 0.9
        enqueue("a", run_at=in_a_moment(), conn=queue)
        assert rings() == 1
