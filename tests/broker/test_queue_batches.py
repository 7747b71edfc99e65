"""A batch kind gathers: its jobs are handed out once a whole batch waits, or the first has waited for long enough."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from workerctl.broker.fleet import queues_with_due_jobs
from workerctl.broker.limits import configure_limits
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]


@pytest.fixture
def gathering(new_worker: Any) -> Any:
    """A worker whose kind `a` gathers up to 5 jobs for an hour."""
    return new_worker(("a",), batch=5, batch_wait=3600.0)


def age(queue: Queue, seconds: float) -> None:
    queue.execute("UPDATE workerctl.live SET run_at = run_at - make_interval(secs => %s)", [seconds])


def test_a_batch_that_is_not_full_is_gathered(queue: Queue, gathering: Any) -> None:
    enqueue_many([("a", None)] * 4, conn=queue)
    assert gathering.claims(8) == []
    [(name, seconds)] = queues_with_due_jobs(queue).items()
    assert name == "default"
    assert 3500 < seconds <= 3600


def test_a_full_batch_is_handed_out_at_once_for_one_seat(queue: Queue, gathering: Any) -> None:
    ids = enqueue_many([("a", None)] * 6, conn=queue)
    assert queues_with_due_jobs(queue) == {"default": 0}
    assert [job for job, _ in gathering.claims(1)] == ids[:5]
    assert gathering.claims(1) == [], "the sixth begins a new batch"


def test_the_first_has_waited_for_long_enough(queue: Queue, gathering: Any) -> None:
    ids = enqueue_many([("a", None)] * 2, conn=queue)
    age(queue, 3601)
    ids += enqueue_many([("a", None)], conn=queue)
    assert queues_with_due_jobs(queue) == {"default": 0}
    assert sorted(job for job, _ in gathering.claims(1)) == ids


def test_other_kinds_of_its_queue_do_not_wait_for_it(queue: Queue, gathering: Any, new_worker: Any) -> None:
    enqueue("a", conn=queue)
    other = enqueue("b", conn=queue)
    assert queues_with_due_jobs(queue) == {"default": 0}
    assert new_worker(("b",)).claims(8) == [(other, 1)]


def test_a_limit_holds_for_a_gathered_batch(queue: Queue, gathering: Any) -> None:
    configure_limits(queue, {"a": 3}, {}, {})
    enqueue_many([("a", None)] * 6, conn=queue)
    assert len(gathering.claims(8)) == 3


def test_a_kind_that_no_longer_gathers_is_handed_out_as_others(queue: Queue, gathering: Any, new_worker: Any) -> None:
    job = enqueue("a", conn=queue)
    assert gathering.claims(8) == []
    assert new_worker().claims(8) == [(job, 1)]


def test_a_batch_kind_gives_many_jobs_for_one_seat(queue: Queue, new_worker: Any) -> None:
    worker = new_worker(("a",), batch=5)
    enqueue_many([("a", None)] * 7, conn=queue)
    assert [len(worker.claims(1)), len(worker.claims(1))] == [5, 2]
