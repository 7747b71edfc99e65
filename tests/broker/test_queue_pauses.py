"""A paused provider: no job of a kind that calls it is handed out before the pause is over."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from workerctl.broker.fleet import queues_with_due_jobs, release_worker
from workerctl.broker.overview import pause_queue
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]


def pause(queue: Queue, seconds: float, kind: str = "a") -> None:
    queue.execute("SELECT workerctl.pause_provider('pictures', %s, '429', %s)", [seconds, kind])


def end_of_pause(queue: Queue) -> None:
    queue.execute("UPDATE workerctl.provider SET paused_until = now()")


def test_its_jobs_stay_untouched_and_those_of_other_kinds_go_on(queue: Queue, new_worker: Any) -> None:
    waiting = enqueue_many([("a", None)] * 3, conn=queue)
    other = enqueue("b", conn=queue)
    worker = new_worker()
    pause(queue, 60)
    assert worker.claims(8) == [(other, 1)]
    assert worker.claims(8) == []
    end_of_pause(queue)
    assert worker.claims(8) == [(job, 1) for job in waiting]


def test_a_kind_that_meets_the_pause_waits_for_its_end_too_however_often_it_is_made_longer(
    queue: Queue, new_worker: Any
) -> None:
    first, second = enqueue_many([("b", None)] * 2, conn=queue)
    worker = new_worker()
    pause(queue, 60)
    assert worker.claims(1) == [(first, 1)], "nobody knows yet that it calls the same provider"
    met = queue.execute(
        "SELECT workerctl.begin_call(%s, 1, 'picture', 'b', 'pictures', 'm', NULL, NULL, 0, true, '[]')", [first]
    ).fetchone()
    assert met is not None
    assert met[0]["reason"] == "429"
    assert worker.claims(8) == []
    end_of_pause(queue)
    pause(queue, 60)
    assert worker.claims(8) == []
    end_of_pause(queue)
    assert worker.claims(8) == [(second, 1)]


def test_the_agent_looks_again_when_the_pause_is_over(queue: Queue) -> None:
    enqueue("a", conn=queue)
    pause(queue, 60)
    assert queues_with_due_jobs(queue) == {"default": pytest.approx(60, abs=5)}
    enqueue("b", conn=queue)
    assert queues_with_due_jobs(queue) == {"default": 0}


def test_a_suspect_of_its_kind_waits_too_and_keeps_no_worker_from_others(queue: Queue, new_worker: Any) -> None:
    suspect = enqueue("a", conn=queue)
    dead, worker = new_worker(), new_worker()
    assert dead.claims(1) == [(suspect, 1)]
    release_worker(queue, dead.incarnation, died=True)
    pause(queue, 60)
    other = enqueue("b", conn=queue)
    assert queues_with_due_jobs(queue) == {"default": 0}
    assert worker.claims(8) == [(other, 1)]
    end_of_pause(queue)
    worker.says(again=[], want=0)
    assert new_worker().claims(8) == [(suspect, 2)]


def test_a_queue_that_is_resumed_asks_anew_whom_its_kinds_call(queue: Queue, new_worker: Any) -> None:
    job = enqueue("a", conn=queue)
    worker = new_worker()
    pause(queue, 3600)
    assert worker.claims(8) == []
    pause_queue(queue, "default", paused=False)
    assert worker.claims(8) == [(job, 1)]
