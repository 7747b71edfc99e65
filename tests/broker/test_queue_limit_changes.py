"""Limits that change while claims are under way, and upkeep beside many keys."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from workerctl.broker.connection import connect
from workerctl.broker.exchange import Ended, Parent
from workerctl.broker.jobs import cancel_jobs
from workerctl.broker.limits import configure_limits, list_limits, set_limit, tidy_limits
from workerctl.producer import enqueue_many

Queue = psycopg.Connection[Any]
STUCK_SECONDS = 0.3
WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'workerctl.worker'::regclass AND NOT granted)"


def changed_meanwhile(worker: Any, url: str, change: Callable[[Queue], None]) -> int:
    """Claims two jobs and commits only when the change has been asked for; how many were claimed."""
    with connect(url, application="change") as other:
        thread = threading.Thread(target=change, args=(other,))
        with worker.connection.transaction():
            claimed = worker.claims(2)
            thread.start()
            thread.join(STUCK_SECONDS)  # behind the claim, or done
        thread.join()
    return len(claimed)


def test_a_limit_that_is_new_counts_a_claim_that_was_under_way(
    queue: Queue, new_worker: Any, database_url: str
) -> None:
    enqueue_many([("a", None)] * 8, conn=queue)
    assert changed_meanwhile(new_worker(), database_url, lambda other: set_limit(other, "a", 3)) == 2
    assert len(new_worker().claims(8)) == 1
    assert [(row["used"], row["most"]) for row in list_limits(queue)] == [(3, 3)]


def test_a_keys_limit_that_comes_back_counts_a_claim_that_was_under_way(
    queue: Queue, new_worker: Any, database_url: str
) -> None:
    configure_limits(queue, {"user:{user_id}": 1}, {}, {})
    enqueue_many([{"kind": "a", "user_id": "u"}] * 8, conn=queue)
    set_limit(queue, "user:{user_id}", None)
    assert changed_meanwhile(new_worker(), database_url, lambda other: set_limit(other, "user:{user_id}", 3)) == 2
    assert len(new_worker().claims(8)) == 1
    assert len(new_worker().claims(8)) == 0


def test_a_keys_limit_that_is_lowered_waits_for_a_claim_by_the_earlier_one(
    queue: Queue, new_worker: Any, database_url: str
) -> None:
    configure_limits(queue, {"user:{user_id}": 2}, {}, {})
    enqueue_many([{"kind": "a", "user_id": "u"}] * 4, conn=queue)
    worker, seen = new_worker(), []

    def lower(other: Queue) -> None:
        set_limit(other, "user:{user_id}", 1)
        seen.append(queue.execute("SELECT count(*) FROM workerctl.live WHERE status = 'running'").fetchone())

    assert changed_meanwhile(worker, database_url, lower) == 2
    assert seen == [(2,)], "in force only when nobody can start a second one any more"


def test_a_rate_that_is_new_holds_for_whoever_claims_after_it(queue: Queue, new_worker: Any, database_url: str) -> None:
    enqueue_many([("a", None)] * 8, conn=queue)
    counted = changed_meanwhile(
        new_worker(), database_url, lambda other: configure_limits(other, {}, {"a": (3, 600.0)}, {})
    )
    assert counted == 2
    assert sum(len(new_worker().claims(8)) for _ in range(3)) == 3


@pytest.fixture
def few_locks(database_url: str) -> Iterator[None]:
    """Somebody else has all the server's locks but 1,500."""
    these = "(1, n) FROM generate_series(%s::integer, %s::integer) AS n"
    with connect(database_url, application="greedy") as greedy:
        taken = 0
        with contextlib.suppress(psycopg.errors.OutOfMemory):
            while True:
                greedy.execute(f"SELECT pg_advisory_lock{these}", [taken, taken + 99])
                taken += 100
        greedy.execute(f"SELECT pg_advisory_unlock{these}", [taken - 1500, taken - 1])
        yield


@pytest.mark.parametrize("change", [set_limit, lambda queue, *_: tidy_limits(queue)])
def test_more_keys_wait_than_the_server_has_locks(queue: Queue, few_locks: None, change: Any) -> None:
    configure_limits(queue, {"user:{user_id}": 0}, {}, {})
    enqueue_many([{"kind": "a", "user_id": f"u{n}"} for n in range(500)], conn=queue)
    queue.execute("UPDATE workerctl.live SET held = true")
    queue.execute("INSERT INTO workerctl.hold SELECT limit_keys[1], rank, id FROM workerctl.live")
    queue.execute("INSERT INTO workerctl.hold SELECT 'gone:' || n, 1, -n FROM generate_series(1, 1600) AS n")
    change(queue, "user:{user_id}", 1)
    after, rounds = "", 0
    while rounds == 0 or after:
        after, rounds = tidy_limits(queue, after), rounds + 1
        assert rounds < 100
    assert rounds > 1
    held = queue.execute("SELECT count(*) FROM workerctl.live WHERE held").fetchone()
    assert held == (0 if change is set_limit else 500,)


def test_cancelling_one_that_waits_and_settling_its_sibling_do_not_stand_in_each_others_way(
    queue: Queue, new_worker: Any, database_url: str
) -> None:
    configure_limits(queue, {"user:{user_id}": 1}, {}, {})
    [parent] = enqueue_many([("b", None)], conn=queue)
    worker = new_worker()
    worker.says(want=1)
    worker.says(parents=[Parent(parent, 1, [{"kind": "a", "user_id": "u"}] * 3)])
    (running, attempt), *_ = worker.claims(8)
    assert worker.claims(8) == [], "the others are held"
    held = [row[0] for row in queue.execute("SELECT id FROM workerctl.live WHERE held ORDER BY id").fetchall()]
    settled: list[Any] = []
    thread = threading.Thread(
        target=lambda: settled.append(worker.says(want=0, ended=[Ended(running, attempt, "succeeded")]))
    )
    with queue.transaction():
        queue.execute("SELECT FROM workerctl.live WHERE id = %s FOR UPDATE", [held[0]])  # as a cancellation begins
        thread.start()
        thread.join(STUCK_SECONDS)
        assert not thread.is_alive(), "settling waits for no job that is being cancelled"
        cancel_jobs(queue, [held[0]])
    thread.join()
    assert not settled[0].lost
    assert worker.claims(8) == [(held[1], 1)]
    assert queue.execute("SELECT count(*) FROM workerctl.hold").fetchone() == (0,)


def test_a_claim_that_begins_while_a_limit_is_set_sees_it(queue: Queue, new_worker: Any, database_url: str) -> None:
    enqueue_many([("a", None)] * 8, conn=queue)
    worker, claimed = new_worker(), []
    thread = threading.Thread(target=lambda: claimed.append(worker.claims(8)))
    with queue.transaction():
        queue.execute("SELECT workerctl.set_limit('a', 1)")
        thread.start()
        with connect(database_url, application="witness") as witness:
            while witness.execute(WAITS).fetchone() != (True,):
                assert thread.is_alive()
    thread.join()
    assert len(claimed[0]) == 1
