"""`jobs show` says why a job waits, and about how long."""

from __future__ import annotations

import datetime as dt
from typing import Any

import psycopg
import pytest

from workerctl.broker.exchange import RunStats
from workerctl.broker.jobs import show_job
from workerctl.broker.limits import configure_limits, list_seats
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]


def why(queue: Queue, job: int) -> str:
    return str(show_job(queue, job)["waits_because"])


def went(worker: Any, jobs: int, run_seconds: float) -> None:
    """As if so many jobs of kind `a` had been run within the last ten minutes."""
    worker.says(stats=[RunStats("default", "a", succeeded=jobs, run_seconds=jobs * run_seconds)])


def test_where_no_worker_runs_at_all_that_is_said_and_not_that_none_knows_the_kind(
    queue: Queue, new_worker: Any
) -> None:
    job = enqueue("a", conn=queue)
    assert why(queue, job).startswith("no worker runs")
    new_worker(("b",))
    assert why(queue, job) == "no worker knows the kind 'a'"
    new_worker(("a",), queues=["other"])
    assert why(queue, job) == "no worker serves the queue 'default'"


def test_a_kind_limit_names_who_sits_in_its_seats(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"a": 2}, {}, {})
    first, second, third, fourth = enqueue_many([("a", None)] * 4, conn=queue)
    assert len(new_worker().claims(8)) == 2
    said = why(queue, fourth)
    assert f"waiting for a seat of a (2 of 2 taken: held by job {first} on host default/1 for 0." in said
    assert f"job {second} on host default/1" in said
    assert said.endswith("; 1 before it")
    assert "before it" not in why(queue, third)


@pytest.mark.parametrize("holder", ["a.one", "a.two"])
def test_of_seats_whose_runs_nobody_has_seen_end_no_time_is_promised(
    queue: Queue, new_worker: Any, holder: str
) -> None:
    configure_limits(queue, {"a": 1}, {}, {})
    worker = new_worker(("a.one", "a.two"), seats=4)
    first = enqueue(holder, conn=queue)
    assert worker.claims(1) == [(first, 1)]
    job = enqueue("a.one", conn=queue)
    assert why(queue, job).startswith(f"waiting for a seat of a (1 of 1 taken: held by job {first}")
    assert show_job(queue, job)["waits_seconds"] is None, "it may take hours"
    worker.says(stats=[RunStats("default", holder, succeeded=1, run_seconds=300.0)])
    assert show_job(queue, job)["waits_seconds"] == pytest.approx(300, abs=5)


def test_a_seat_that_was_taken_this_moment_is_held_for_no_time_and_not_for_less(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"a": 1}, {}, {})
    jobs = enqueue_many([("a", None)] * 2, conn=queue)
    worker = new_worker()
    with queue.transaction():  # whose time stands
        queue.execute("SELECT now()")
        worker.claims(1)
        assert list_seats(queue)[0]["seconds"] >= 0
        [limit] = show_job(queue, jobs[1])["waits_for"]["limits"]
        assert limit["holders"][0]["seconds"] >= 0


def test_a_key_limit_names_the_key_and_the_place_among_those_that_wait_for_it(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"user:{user_id}": 1}, {}, {})
    jobs = enqueue_many([{"kind": "a", "user_id": "u7"}] * 4, conn=queue)
    worker = new_worker()
    worker.claims(8)
    went(worker, 10, 60.0)
    said = why(queue, jobs[3])
    assert f"waiting for a seat of user:u7 (1 of 1 taken: held by job {jobs[0]}" in said
    assert said.endswith("; 2 before it; about 3 min"), said
    assert show_job(queue, jobs[3])["waits_seconds"] == pytest.approx(180)


def test_behind_others_of_its_key_a_job_waits_for_their_seats_before_a_claim_has_met_it(
    queue: Queue, new_worker: Any
) -> None:
    configure_limits(queue, {"user:{user_id}": 2}, {}, {})
    worker = new_worker(seats=100)
    jobs = enqueue_many([{"kind": "a", "user_id": "u7"}] * 40, conn=queue)
    went(worker, 10, 60.0)
    assert show_job(queue, jobs[39])["waits_seconds"] == pytest.approx(19 * 60)
    assert show_job(queue, jobs[1])["waits_seconds"] < 1


def test_a_rate_says_until_when(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"a": (1, 600.0), "model:{model}": (1, 300.0)}, {})
    enqueue("a", conn=queue)
    second = enqueue("a", conn=queue)
    new_worker().claims(8)
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=600)
    assert why(queue, second).startswith(f"rate a is used up (1 starts) until {until:%Y-%m-%d %H:}")
    assert 590 < show_job(queue, second)["waits_seconds"] <= 600
    _, keyed = enqueue_many([("b", {"model": "m"})] * 2, conn=queue)
    new_worker().claims(8)
    assert why(queue, keyed).startswith("rate model:m is used up (1 starts) until ")


def test_a_job_that_is_due_after_its_rate_is_free_says_when_it_is_due(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"a": (1, 600.0)}, {})
    enqueue("a", conn=queue)
    new_worker().claims(8)
    day, minute = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes) for minutes in (1440, 1))
    assert why(queue, enqueue("a", run_at=day, conn=queue)).startswith("due in 86")
    assert why(queue, enqueue("a", run_at=minute, conn=queue)).startswith("rate a is used up")


def test_those_before_a_job_take_their_starts_of_a_rate_too(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"a": (2, 600.0)}, {})
    jobs = enqueue_many([("a", None)] * 7, conn=queue)
    assert len(new_worker().claims(8)) == 2
    waits = [show_job(queue, job)["waits_seconds"] for job in jobs[2:]]
    assert waits == pytest.approx([600, 600, 1200, 1200, 1800], abs=10)
    assert "; 4 before it; about 30 min" in why(queue, jobs[6])


def test_a_limit_of_zero_promises_no_time(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"a": 0, "user:{user_id}": 0}, {}, {})
    of_kind, of_user = enqueue("a", conn=queue), enqueue("b", user_id="u1", conn=queue)
    worker = new_worker()
    went(worker, 10, 1.0)
    worker.says(stats=[RunStats("default", "b", succeeded=10, run_seconds=10)])
    worker.claims(8)
    assert why(queue, of_kind) == "the limit of a is 0: none of its jobs begins"
    assert why(queue, of_user) == "the limit of user:u1 is 0: none of its jobs begins"
    assert show_job(queue, of_user)["waits_seconds"] is None


def test_a_suspect_and_a_gathered_batch_say_so(queue: Queue, new_worker: Any) -> None:
    suspect = enqueue("a", conn=queue)
    new_worker(("a",))
    queue.execute("UPDATE workerctl.live SET deaths = 1")
    assert "to run alone" in why(queue, suspect)
    new_worker(("b",), batch=5, batch_wait=60)
    gathered = enqueue_many([("b", None)] * 2, conn=queue)[1]
    assert why(queue, gathered).startswith("gathering a batch: number 2 of 5, for ")


def test_a_paused_provider_says_for_how_long_and_why(queue: Queue, new_worker: Any) -> None:
    new_worker()
    job = enqueue("a", conn=queue)
    assert "left alone" not in why(queue, job)
    queue.execute("SELECT workerctl.pause_provider('pictures', 100, '429: slow down', 'a')")
    assert why(queue, job) == "provider pictures is left alone for 100 s: 429: slow down"
    assert 90 < show_job(queue, job)["waits_seconds"] <= 100


def test_the_place_in_line_and_what_runs_take_make_a_guess(queue: Queue, new_worker: Any) -> None:
    jobs = enqueue_many([("a", None)] * 60, conn=queue)
    worker = new_worker(seats=2)
    worker.claims(2)
    assert why(queue, jobs[2]) == "waiting for a free worker; next in line"
    went(worker, 3, 5.0)
    assert show_job(queue, jobs[2])["waits_seconds"] == pytest.approx(5, abs=1)
    assert show_job(queue, jobs[59])["waits_seconds"] == pytest.approx(5 + 57 * 5 / 2, abs=1)
    assert why(queue, jobs[59]) == "waiting for a free worker; 57 before it; about 2 min"


@pytest.mark.parametrize(("ago", "said"), [("40 min", True), ("20 hours", True), ("25 hours", False)])
def test_a_kind_of_long_jobs_is_guessed_by_its_hour_or_day(queue: Queue, new_worker: Any, ago: str, said: bool) -> None:
    _, job = enqueue_many([("a", None)] * 2, conn=queue)
    went(new_worker(), 2, 1500.0)
    queue.execute("UPDATE workerctl.run_stats SET at = at - %s::interval", [ago])
    assert show_job(queue, job)["waits_seconds"] == (pytest.approx(1500) if said else None)


def test_it_waits_for_other_kinds_and_queues_that_its_workers_serve_too(queue: Queue, new_worker: Any) -> None:
    new_worker(("a", "b"), seats=2)
    enqueue_many([{"kind": "b", "queue": "other"}] * 4 + [{"kind": "b"}] * 4, conn=queue)
    job = enqueue("a", conn=queue)
    worker = new_worker(("a",), queues=["elsewhere"])
    assert why(queue, job) == "waiting for a free worker; 8 before it"
    went(worker, 1, 1.0)
    assert show_job(queue, job)["waits_seconds"] is None, "nobody knows how long those before it take"
    worker.says(stats=[RunStats("default", "b", succeeded=2, run_seconds=20.0)])
    assert why(queue, job) == "waiting for a free worker; 8 before it; about 40 s"


def test_each_job_of_a_keys_rate_says_its_own_time(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {"model:{model}": (10, 60.0)}, {})
    jobs = enqueue_many([("a", {"model": model}) for _ in range(51) for model in ("m", "n")], conn=queue)
    mine = jobs[::2]
    worker = new_worker()
    assert show_job(queue, mine[10])["waits_seconds"] == pytest.approx(60, abs=3), "before any has begun"
    while worker.claims(100):
        pass
    waits = [show_job(queue, job)["waits_seconds"] for job in (mine[10], mine[19], mine[20], mine[50])]
    assert waits == pytest.approx([60, 60, 120, 300], abs=3)
    assert why(queue, mine[10]).endswith(("Z; about 60 s", "Z; about 59 s"))
    assert why(queue, mine[50]).endswith("Z; 40 before it; about 5 min")


def test_jobs_of_other_kinds_of_its_queue_stand_before_it_too(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"full": 0}, {}, {})
    new_worker(("a", "b", "full"))
    enqueue_many([("b", None)] * 5 + [("full", None)] * 3 + [("unknown", None)] * 2, conn=queue)
    job = enqueue("a", conn=queue)
    went(new_worker(), 10, 1.0)
    assert why(queue, job) == "waiting for a free worker; 5 before it"


def test_more_than_a_thousand_are_counted_or_guessed_too(queue: Queue, new_worker: Any) -> None:
    jobs = enqueue_many([("a", None)] * 3000, conn=queue)
    worker = new_worker()
    assert why(queue, jobs[2500]) == "waiting for a free worker; about 2500 before it"
    queue.execute("ANALYZE workerctl.live")
    went(worker, 10, 1.0)
    assert show_job(queue, jobs[2999])["waits_seconds"] == pytest.approx(2999, rel=0.3)


def test_a_job_that_does_not_wait_gives_no_reason(queue: Queue, new_worker: Any) -> None:
    job = enqueue("a", conn=queue)
    new_worker().claims(1)
    shown = show_job(queue, job)
    assert (shown["waits_because"], shown["waits_seconds"], shown["waits_for"]) == (None, None, None)
