"""Users take turns within a kind, however late one comes and however long its runs take."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg
import pytest

from workerctl.broker.exchange import Again, Ended, Parent, RunStats
from workerctl.broker.fleet import bring_due
from workerctl.broker.jobs import retry_jobs
from workerctl.broker.limits import configure_limits
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]


def jobs(queue: Queue, user: str, count: int, **more: Any) -> list[int]:
    return enqueue_many([{"kind": "a", "user_id": user} | more] * count, conn=queue)


def ran_for(queue: Queue, worker: Any, seconds: float) -> None:
    """As if some jobs of kind `a` had run for so long each, and the primary had seen to its statistics."""
    worker.says(stats=[RunStats("default", "a", succeeded=4, run_seconds=4 * seconds)])
    queue.execute("SELECT workerctl.tidy_stats()")


def time_passes(queue: Queue, seconds: int) -> None:
    """As if all that waits had been enqueued so long ago."""
    queue.execute("UPDATE workerctl.live SET rank = rank - 1000 * %s", [seconds])


def test_a_late_comer_waits_for_one_job_of_each_and_not_for_a_batch_of_long_runs(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    jobs(queue, "big", 1)
    worker.claims(1)
    ran_for(queue, worker, 8.0)
    jobs(queue, "big", 50)
    time_passes(queue, 100)
    assert len(worker.claims(25)) == 25  # 100 s of 2 seats
    late = jobs(queue, "small", 2)
    claimed = {job for job, _ in worker.claims(4)}
    assert claimed >= set(late)


@pytest.mark.parametrize(
    ("rates", "apart"),
    [({}, 1000), ({"a": (10, 60.0)}, 6000), ({"model:{model}": (20, 60.0)}, 3000), ({"other": (10, 60.0)}, 1000)],
)
def test_a_rate_sets_users_as_far_apart_as_it_lets_jobs_begin(
    queue: Queue, new_worker: Any, rates: dict[str, tuple[int, float]], apart: int
) -> None:
    worker = new_worker()
    configure_limits(queue, {}, rates, {})
    jobs(queue, "big", 1, payload={"model": "m"})
    ran_for(queue, worker, 0.01)
    first, second = jobs(queue, "new", 2, payload={"model": "m"})
    ranks = dict(queue.execute("SELECT id, rank FROM workerctl.live").fetchall())
    assert ranks[second] - ranks[first] == apart


def test_a_priority_stands_above_turns_and_a_job_of_the_lowest_has_its_turn(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    low = jobs(queue, "big", 1, priority=-1)
    high = jobs(queue, "big", 3, priority=1)
    (small,) = jobs(queue, "small", 1)
    assert [job for job, _ in worker.claims(4)] == [*high, small]
    time_passes(queue, 700)  # a step is worth ten minutes
    jobs(queue, "small", 5)
    assert worker.claims(1) == [(low[0], 1)]


def test_what_falls_due_at_one_instant_stands_as_far_apart_as_what_is_enqueued(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    at = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    jobs(queue, "big", 300, run_at=at)
    tried = jobs(queue, "big", 1)
    worker.says(again=[Again(*worker.claims(1)[0], failed=True, delay_seconds=60)])
    nobodys = enqueue("a", run_at=at, conn=queue)
    queue.execute(
        "UPDATE workerctl.live SET run_at = now(), rank = workerctl.later_rank(now() - interval '1 s', priority)"
    )
    while bring_due(queue):
        pass
    late = jobs(queue, "small", 2)
    first = {job for job, _ in worker.claims(6)}
    assert first >= {*tried, nobodys, *late}, "with one or two of the 300"
    ranks = queue.execute("SELECT DISTINCT rank FROM workerctl.live WHERE status = 'pending'").fetchall()
    assert len(ranks) == 304 - 6


def test_what_is_redone_of_a_large_batch_takes_its_turns(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    parent = enqueue("b", user_id="big", conn=queue)
    worker.says(want=1)
    worker.says(parents=[Parent(parent, 1, [{"kind": "a", "user_id": "big"}] * 300)])
    while claimed := worker.claims(64):
        worker.says(ended=[Ended(*job, "dead") for job in claimed])
    assert retry_jobs(queue, [parent]) == 300
    late = jobs(queue, "small", 2)
    assert {job for job, _ in worker.claims(4)} >= set(late)


def test_a_late_comer_waits_for_a_round_where_more_users_than_seats_wait(queue: Queue, new_worker: Any) -> None:
    one, other = new_worker(), new_worker()
    users = [f"用户{n}" for n in range(6)]
    for user in users:
        jobs(queue, user, 1)
    ran_for(queue, one, 8.0)
    assert queue.execute("SELECT turn_ms FROM workerctl.lane").fetchall() == [(24_000,)], "six users, two seats"
    one.claims(6)
    for user in users:
        jobs(queue, user, 10)
    time_passes(queue, 97)
    assert len(other.claims(24)) == 24  # 96 s of 2 seats
    late = jobs(queue, "small", 2)
    assert late[0] in {job for job, _ in other.claims(7)}


def test_of_many_users_a_thousand_are_counted(queue: Queue, new_worker: Any) -> None:
    new_worker()
    enqueue_many([{"kind": "a", "user_id": f"u{n}"} for n in range(1200)], conn=queue)
    enqueue_many([{"kind": "a"}] * 3, conn=queue)
    [(lane,)] = queue.execute("SELECT id FROM workerctl.lane").fetchall()
    assert queue.execute("SELECT workerctl.users_waiting(%s, 1000)", [lane]).fetchall() == [(1000,)]
    assert queue.execute("SELECT workerctl.users_waiting(%s, 2000)", [lane]).fetchall() == [(1200,)]


def test_turns_survive_an_hour_without_a_run(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    jobs(queue, "big", 1)
    ran_for(queue, worker, 30.0)
    queue.execute("UPDATE workerctl.run_stats SET at = at - interval '3 hours'")
    queue.execute("SELECT workerctl.tidy_stats()")
    assert queue.execute("SELECT turn_ms FROM workerctl.lane").fetchall() == [(30_000,)]
