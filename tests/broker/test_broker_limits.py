"""Limits hold in the whole fleet, at every instant, and nothing leaks a seat."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from workerctl.broker.connection import connect
from workerctl.broker.exchange import Again, Ended, Parent
from workerctl.broker.fleet import release_worker
from workerctl.broker.jobs import cancel_jobs, show_job
from workerctl.broker.limits import configure_limits, list_limits, list_seats, reset_limit, set_limit, tidy_limits
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]


def drain_with(workers: list[Any], want: int, hold_seconds: float = 0.002) -> list[threading.Thread]:
    """Each worker claims, holds, settles and claims in one statement until nothing is left for a while."""

    def work(worker: Any) -> None:
        held: list[tuple[int, int]] = []
        empty_since = time.monotonic()
        while held or time.monotonic() - empty_since < 1.0:
            ended = [Ended(*job, "succeeded") for job in held]
            held = [(job.id, job.attempt) for job in worker.says(want=want, ended=ended).claimed or []]
            if held:
                empty_since = time.monotonic()
            time.sleep(hold_seconds)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    return threads


def most_at_once(database_url: str, threads: list[threading.Thread], sql: str) -> int:
    """The largest value that `sql` had at any instant that was looked at while the threads ran."""
    most = 0
    with connect(database_url, application="sampler") as connection:
        while any(thread.is_alive() for thread in threads):
            row = connection.execute(sql).fetchone()
            most = max(most, int(row[0] or 0) if row else 0)
    return most


def test_a_kind_limit_is_never_exceeded_and_is_reached(queue: Queue, new_worker: Any, database_url: str) -> None:
    configure_limits(queue, {"a": 5}, {}, {})
    enqueue_many([("a", None)] * 150 + [("b", None)] * 50, conn=queue)
    threads = drain_with([new_worker() for _ in range(8)], want=4)
    running = "SELECT count(*) FROM workerctl.job WHERE status = 'running' AND kind = 'a'"
    assert most_at_once(database_url, threads, running) == 5
    assert queue.execute("SELECT count(*) FROM workerctl.live").fetchone() == (0,)
    assert queue.execute("SELECT count(*) FROM workerctl.seat").fetchone() == (0,)


def test_a_limit_on_what_stands_before_the_dot_holds_for_all_its_kinds(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"image": 3, "image.big": 1}, {}, {})
    enqueue_many([("image.big", None)] * 4 + [("image.small", None)] * 4, conn=queue)
    worker = new_worker(("image.big", "image.small"))
    kinds = [job.kind for _ in range(4) for job in worker.says(want=8).claimed or []]
    assert sorted(kinds) == ["image.big", "image.small", "image.small"]


def test_a_key_limit_holds_per_user_and_others_go_on(queue: Queue, new_worker: Any, database_url: str) -> None:
    configure_limits(queue, {"user:{user_id}": 2}, {}, {})
    enqueue_many([{"kind": "a", "user_id": f"u{n % 5}"} for n in range(150)] + [{"kind": "a"}] * 20, conn=queue)
    threads = drain_with([new_worker() for _ in range(6)], want=4)
    running = (
        "SELECT max(n) FROM (SELECT count(*) AS n FROM workerctl.live"
        " WHERE status = 'running' AND user_id IS NOT NULL GROUP BY user_id) c"
    )
    assert most_at_once(database_url, threads, running) == 2
    assert queue.execute("SELECT count(*) FROM workerctl.live").fetchone() == (0,)
    assert queue.execute(
        "SELECT (SELECT count(*) FROM workerctl.seat), (SELECT count(*) FROM workerctl.hold)"
    ).fetchone() == (0, 0)


def test_a_saturated_users_backlog_is_looked_at_once(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"user:{user_id}": 1}, {}, {})
    enqueue_many([{"kind": "a", "user_id": "big"} for _ in range(300)], conn=queue)
    worker = new_worker()
    assert len(worker.claims(4)) == 1
    small = enqueue("a", user_id="small", conn=queue)
    claims = [job for _ in range(5) for job, _ in worker.claims(4)]
    assert claims == [small]
    assert "a seat of user:big" in show_job(queue, small - 1)["waits_because"]


def test_a_freed_seat_lets_the_next_in_and_only_one(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"user:{user_id}": 1}, {}, {})
    ids = enqueue_many([{"kind": "a", "user_id": "u"} for _ in range(3)], conn=queue)
    worker, other = new_worker(), new_worker()
    assert worker.claims(8) == [(ids[0], 1)]
    assert other.claims(8) == []
    reply = worker.says(want=0, ended=[Ended(ids[0], 1, "succeeded")])
    assert reply.lost is None
    assert other.claims(8) == [(ids[1], 1)]


def test_a_dead_worker_leaves_its_seats(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"a": 1, "user:{user_id}": 1}, {}, {})
    ids = enqueue_many([{"kind": "a", "user_id": "u"}] * 2, conn=queue)
    dead, other = new_worker(), new_worker()
    assert dead.claims(8) == [(ids[0], 1)]
    assert other.claims(8) == []
    release_worker(queue, dead.incarnation, died=True)
    assert other.claims(8) == [(ids[0], 2)]


def test_who_waits_for_the_seat_of_a_cancelled_job_comes_in_when_its_worker_is_gone(
    queue: Queue, new_worker: Any
) -> None:
    """Not only with the next upkeep: nothing of the dead stands in line, whose settlement would let another in."""
    configure_limits(queue, {"user:{user_id}": 1}, {}, {})
    enqueue_many([{"kind": "a", "user_id": "u"}] * 2, conn=queue)
    dead, other = new_worker(), new_worker()
    [job] = dead.says(want=1).claimed
    assert not other.says(want=1).claimed
    cancel_jobs(queue, [job.id])
    release_worker(queue, dead.incarnation, died=True)
    assert [claimed.id for claimed in other.says(want=1).claimed or []] == [job.id + 1]


def test_a_retry_and_a_waiting_parent_hold_no_seat(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"a": 1}, {}, {})
    first, second, third = enqueue_many([("a", None)] * 3, conn=queue)
    worker = new_worker()
    assert worker.claims(8) == [(first, 1)]
    worker.says(again=[Again(first, 1, failed=True, delay_seconds=60)])
    assert worker.claims(8) == [(second, 1)]
    worker.says(parents=[Parent(second, 1, [{"kind": "b"}])])
    assert (third, 1) in worker.claims(8)


def test_a_model_in_the_payload_can_be_limited(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"model:{payload.model}": 1, "plan {plan}": 3}, {}, {})
    enqueue_many([("a", {"model": "x"}), ("a", {"model": "x"}), ("a", {"model": "y"}), ("a", {})], conn=queue)
    assert len([job for _ in range(3) for job in new_worker().claims(8)]) == 3


def test_a_rate_counts_starts_in_a_sliding_period(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"a": (3, 1.0)}, {})
    enqueue_many([("a", None)] * 8, conn=queue)
    worker = new_worker()
    began = time.monotonic()
    taken = 0
    while taken < 8:
        assert time.monotonic() - began < 20
        taken += len(worker.claims(8))
        time.sleep(0.01)
    times = [at for (at,) in queue.execute("SELECT at FROM workerctl.start ORDER BY at").fetchall()]
    assert len(times) == 8
    assert all((later - earlier).total_seconds() >= 1 for earlier, later in zip(times, times[3:], strict=False))


def test_a_job_whose_keys_rate_is_used_up_begins_when_it_is_free(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"user:{user_id}": (1, 1.0)}, {})
    first, second = enqueue_many([{"kind": "a", "user_id": "u"}] * 2, conn=queue)
    worker = new_worker()
    began = time.monotonic()
    assert worker.claims(8) == [(first, 1)]
    assert worker.claims(8) == []
    while not (got := worker.claims(8)):
        assert time.monotonic() - began < 20
        time.sleep(0.01)
    assert got == [(second, 1)]
    assert time.monotonic() - began >= 0.95


def a_period_passes(queue: Queue) -> None:
    queue.execute("UPDATE workerctl.start SET at = at - interval '1 hour'")
    queue.execute("UPDATE workerctl.used_up SET free_at = free_at - interval '1 hour'")


def test_an_urgent_job_and_a_users_turn_come_next_of_a_long_backlog_of_a_rate(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"model:{model}": (1, 3600.0)}, {})
    worker = new_worker()
    of_model = {"kind": "a", "payload": {"model": "m"}}
    big = enqueue_many([{"user_id": "big"} | of_model] * 400, conn=queue)
    assert worker.claims(8) == [(big[0], 1)]
    late, later = enqueue_many([{"user_id": "small"} | of_model] * 2, conn=queue)
    urgent = enqueue("a", {"model": "m"}, user_id="big", priority=10, conn=queue)
    while queue.execute("SELECT 1 FROM workerctl.live WHERE status = 'pending' AND NOT held").fetchone():
        assert worker.claims(8) == []
    for expected in (urgent, late, big[1], later, big[2]):
        a_period_passes(queue)
        assert worker.claims(8) == [(expected, 1)]
        assert worker.claims(8) == []


@pytest.mark.parametrize(("limit", "rate"), [("{model}", "{user_id}"), ("{user_id}", "{model}")])
@pytest.mark.parametrize("rates", [1, 2])
def test_a_rate_holds_where_other_limits_give_a_job_the_same_key(
    queue: Queue, new_worker: Any, limit: str, rate: str, rates: int
) -> None:
    configure_limits(
        queue, {limit: 9}, {rate: (2, 3600.0), "{payload.m}": (3, 3600.0)} if rates == 2 else {rate: (2, 3600.0)}, {}
    )
    enqueue_many([{"kind": "a", "user_id": "x", "payload": {"model": "x", "m": "x"}}] * 20, conn=queue)
    assert len([job for _ in range(4) for job in new_worker().claims(8)]) == 2


def test_a_backlog_of_a_used_up_rate_is_looked_at_once(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"model:{model}": (2, 3600.0)}, {})
    enqueue_many([("a", {"model": "m"})] * 50, conn=queue)
    worker = new_worker()
    while queue.execute("SELECT 1 FROM workerctl.live WHERE status = 'pending' AND NOT held").fetchone():
        worker.claims(8)
    a_period_passes(queue)
    before = dict(queue.execute("SELECT id, xmin::text FROM workerctl.live").fetchall())
    assert len(worker.claims(8)) == 2
    after = dict(queue.execute("SELECT id, xmin::text FROM workerctl.live").fetchall())
    assert len(before.items() ^ after.items()) == 2 * 2, "no other row was written"


def test_who_waits_for_a_rate_that_is_taken_away_comes_in(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"model:{model}": (1, 3600.0)}, {})
    enqueue_many([("a", {"model": "m"})] * 5, conn=queue)
    worker = new_worker()
    assert len(worker.claims(8)) == 1
    assert list_limits(queue)[0]["held"] == 4
    configure_limits(queue, {}, {}, {})
    assert len(worker.claims(8)) == 4


def test_a_key_rate_is_listed_with_each_key_that_began_something(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"a": (9, 60.0), "model.v1:{model}": (2, 60.0)}, {})
    for model in ("m%1", "m%1", "m_2"):
        enqueue("a", {"model": model}, conn=queue)
    worker = new_worker()
    worker.claims(8)
    assert [(row["name"], row["key"], row["used"], row["most"]) for row in list_limits(queue)] == [
        ("a", "a", 3, 9),
        ("model.v1:{model}", "model.v1:m%1", 2, 2),
        ("model.v1:{model}", "model.v1:m_2", 1, 2),
    ]


def test_a_limit_changes_at_run_time_and_comes_back(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"a": 1, "user:{user_id}": 1}, {}, {})
    enqueue_many([{"kind": "a", "user_id": "u"}] * 5, conn=queue)
    worker = new_worker()
    assert len(worker.claims(8)) == 1
    set_limit(queue, "a", 4)
    set_limit(queue, "user:{user_id}", 3)
    assert len(worker.claims(8)) == 2
    assert [(row["name"], row["most"], row["configured"], row["used"]) for row in list_limits(queue)] == [
        ("a", 4, 1, 3),
        ("user:{user_id}", 3, 1, 3),
    ]
    assert len(list_seats(queue)) == 6
    configure_limits(queue, {"a": 2, "user:{user_id}": 1}, {}, {})
    assert list_limits(queue)[0]["most"] == 4, "what was set by hand stays"
    assert reset_limit(queue, "a")
    assert list_limits(queue)[0]["most"] == 2
    assert not reset_limit(queue, "nothing")


def test_a_limit_set_over_running_jobs_counts_them(queue: Queue, new_worker: Any) -> None:
    enqueue_many([("a", None)] * 5, conn=queue)
    worker = new_worker()
    assert len(worker.claims(2)) == 2
    set_limit(queue, "a", 3)
    assert len(worker.claims(8)) == 1


def test_a_job_that_was_let_in_and_cancelled_does_not_keep_others_out(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"user:{user_id}": 1}, {}, {})
    ids = enqueue_many([{"kind": "a", "user_id": "u"}] * 3, conn=queue)
    worker, other = new_worker(), new_worker()
    worker.claims(8)
    other.claims(8)
    worker.says(ended=[Ended(ids[0], 1, "succeeded")])
    cancel_jobs(queue, [ids[1]])
    tidy_limits(queue)
    assert other.claims(8) == [(ids[2], 1)]


@pytest.mark.parametrize("rate", [None, (1, 600.0)])
def test_who_was_let_in_for_one_key_and_waits_for_another_makes_way(
    queue: Queue, new_worker: Any, rate: tuple[int, float] | None
) -> None:
    models_limit = {} if rate else {"model:{model}": 1}
    configure_limits(queue, {"user:{user_id}": 1} | models_limit, {"model:{model}": rate} if rate else {}, {})
    worker = new_worker()
    first = enqueue("a", user_id="v", conn=queue)
    assert worker.claims(8) == [(first, 1)]
    both, users = enqueue_many([{"kind": "a", "payload": {"model": "n"}, "user_id": "v"},
                                {"kind": "a", "user_id": "v"}], conn=queue)  # fmt: skip
    assert worker.claims(8) == [], "both wait for the user's seat"
    models = enqueue("a", {"model": "n"}, conn=queue)
    assert worker.claims(8) == [(models, 1)]
    worker.says(ended=[Ended(first, 1, "succeeded")])
    assert worker.claims(8) == [(users, 1)], "the one before it was let in, and waits for the model now"
    worker.says(ended=[Ended(models, 1, "succeeded"), Ended(users, 1, "succeeded")])
    assert worker.claims(8) == ([] if rate else [(both, 1)])


def test_a_value_that_looks_like_a_hole_stands_in_the_key_as_it_is(queue: Queue) -> None:
    configure_limits(queue, {"of:{user_id}:{plan}": 1}, {}, {})
    job = enqueue("a", user_id="{plan}", plan="free", conn=queue)
    keys = queue.execute("SELECT limit_keys FROM workerctl.live WHERE id = %s", [job]).fetchone()
    assert keys == (["of:{plan}:free"],)


def test_a_limit_of_zero_stops_a_kind_and_no_other(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"a": 0}, {}, {})
    enqueue_many([("a", None)] * 20, conn=queue)
    other = enqueue("b", conn=queue)
    assert new_worker().claims(2) == [(other, 1)]


def test_users_take_turns_within_a_kind(queue: Queue, new_worker: Any) -> None:
    enqueue_many([{"kind": "a", "user_id": "big"} for _ in range(50)], conn=queue)
    small = enqueue_many([{"kind": "a", "user_id": "small"} for _ in range(2)], conn=queue)
    order = [job for job, _ in new_worker().claims(10)]
    assert set(small) <= set(order[:6])


def test_a_users_urgent_job_does_not_queue_up_behind_the_others(queue: Queue, new_worker: Any) -> None:
    enqueue_many([{"kind": "a", "user_id": "u"} for _ in range(50)], conn=queue)
    urgent = enqueue("a", user_id="u", priority=1, conn=queue)
    assert new_worker().claims(1) == [(urgent, 1)]


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_limit_needs_a_sensible_name(queue: Queue, name: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        set_limit(queue, name, 1)
