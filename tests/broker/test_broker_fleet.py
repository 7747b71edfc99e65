"""Nodes, leases, the primary and its ticks, on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from typing import Any

import psycopg
import pytest

from workerctl.broker.connection import connect, statement
from workerctl.broker.depth import queues
from workerctl.broker.fleet import (
    NodeTaken,
    database_now,
    hold_primary,
    make_tick,
    queues_with_due_jobs,
    release_others,
    renew_node,
    set_schedules,
)
from workerctl.broker.jobs import list_jobs, show_job
from workerctl.broker.limits import configure_limits
from workerctl.broker.overview import (
    nodes,
    pause_queue,
    pause_schedule,
    run_schedule,
    schedules,
)
from workerctl.contract import Unreachable
from workerctl.producer import enqueue

Queue = psycopg.Connection[Any]
TASK = {"name": "nightly", "cron": "0 3 * * *", "timezone": "UTC", "kind": "report"}


def renew(queue: Queue, node_id: str = "n1", lease: float = 30) -> int:
    return renew_node(queue, node_id=node_id, host=node_id, version="1", cores=2, lease_seconds=lease)


def make_steady(queue: Queue) -> None:
    """As if node n1 had been renewing for an hour on a server that has been up as long."""
    renew(queue, lease=0.001)
    queue.execute(
        "UPDATE workerctl.node SET steady_since = now() - interval '1 hour', lease_until = now() + interval '1 minute'"
    )
    queue.execute("SELECT pg_sleep(0.01)")


def test_nobody_is_given_up_for_a_lock_that_outlasts_a_lease(queue: Queue, new_worker: Any, database_url: str) -> None:
    job_id = enqueue("a", conn=queue)
    renew(queue, lease=0.3)
    queue.execute("UPDATE workerctl.node SET steady_since = now() - interval '1 hour'")
    worker = new_worker(node="n2", lease=0.3)
    assert worker.claims(1) == [(job_id, 1)]
    queue.execute("SET lock_timeout = '50ms'")
    with psycopg.connect(database_url) as somebody:
        somebody.execute("LOCK TABLE workerctl.live IN ACCESS EXCLUSIVE MODE")  # as ALTER TABLE and VACUUM FULL do
        while queue.execute("SELECT 1 FROM workerctl.worker WHERE lease_until > clock_timestamp()").fetchone():
            with contextlib.suppress(psycopg.errors.LockNotAvailable):
                renew(queue, lease=0.3)
    assert renew(queue, lease=0.3) == 0
    assert not worker.says(renew_seconds=30.0).gone
    assert show_job(queue, job_id)["status"] == "running"


def test_an_expired_worker_is_given_up_by_a_steady_node(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("a", conn=queue)
    worker = new_worker(node="n2", lease=0.001)
    assert worker.claims(1) == [(job_id, 1)]
    make_steady(queue)
    assert renew(queue, lease=0.001) == 1
    row = show_job(queue, job_id)
    assert (row["status"], row["deaths"]) == ("pending", 0), "a lost machine does not speak against its jobs"
    assert worker.says(want=1).gone


def test_nobody_is_given_up_within_one_lease_of_the_servers_start(queue: Queue, new_worker: Any) -> None:
    """Else an outage of the database would take their jobs from all who could not renew."""
    enqueue("a", conn=queue)
    new_worker(node="n2", lease=0.001).claims(1)
    make_steady(queue)
    queue.execute("UPDATE workerctl.node SET steady_since = now() - interval '30 days'")
    since = queue.execute("SELECT extract(epoch FROM now() - pg_postmaster_start_time())::float").fetchone()
    assert since is not None
    assert renew(queue, lease=since[0] + 3600) == 0
    assert renew(queue, lease=0.001) == 1


def test_a_node_that_has_just_come_judges_nobody(queue: Queue, new_worker: Any) -> None:
    enqueue("a", conn=queue)
    new_worker(node="n2", lease=0.001).claims(1)
    assert renew(queue, lease=60) == 0
    assert renew(queue, lease=60) == 0


def test_a_gap_in_its_own_lease_makes_a_node_new_again(queue: Queue) -> None:
    make_steady(queue)
    queue.execute("UPDATE workerctl.node SET lease_until = now() - interval '1 second'")
    renew(queue)
    row = queue.execute("SELECT steady_since > now() - interval '1 minute' FROM workerctl.node").fetchone()
    assert row == (True,)


def test_a_node_judges_again_one_lease_after_the_databases_clock_was_set_back(queue: Queue, new_worker: Any) -> None:
    enqueue("a", conn=queue)
    new_worker(node="n2", lease=0.001).claims(1)
    renew(queue)
    queue.execute("UPDATE workerctl.node SET steady_since = now() + interval '1 hour'")
    assert renew(queue) == 0, "it begins to be steady only now"
    queue.execute("SELECT pg_sleep(0.01)")
    assert renew(queue, lease=0.001) == 1


def test_a_renewed_worker_keeps_its_jobs(queue: Queue, new_worker: Any) -> None:
    enqueue("a", conn=queue)
    worker = new_worker(node="n2", lease=0.001)
    worker.claims(1)
    worker.says(renew_seconds=60.0)
    make_steady(queue)
    assert renew(queue, lease=0.001) == 0


def test_a_new_agent_releases_whom_its_supervisor_does_not_list(queue: Queue, new_worker: Any) -> None:
    for _ in range(3):
        enqueue("a", conn=queue)
    dead, alive = new_worker(), new_worker()
    dead.claims(1)
    alive.claims(1)
    since = database_now(queue)
    younger = new_worker()
    younger.claims(1)
    assert release_others(queue, "n1", [alive.incarnation], since) == 1
    assert alive.says().gone is False
    assert younger.says().gone is False, "it registered after the list was asked for"
    assert dead.says().gone


def test_one_agent_holds_the_primary_lease(queue: Queue) -> None:
    assert hold_primary(queue, agent="a1", node_id="n1", lease_seconds=60) == 1
    assert hold_primary(queue, agent="a2", node_id="n2", lease_seconds=60) is None
    assert hold_primary(queue, agent="a1", node_id="n1", lease_seconds=60) == 1


def test_a_new_agent_of_the_same_node_takes_over_at_once_with_a_new_term(queue: Queue) -> None:
    hold_primary(queue, agent="a1", node_id="n1", lease_seconds=60)
    assert hold_primary(queue, agent="a1b", node_id="n1", lease_seconds=60) == 2
    assert hold_primary(queue, agent="a1", node_id="n1", lease_seconds=60) == 3


def test_an_expired_lease_goes_to_another_node_and_the_old_term_can_do_nothing(queue: Queue) -> None:
    set_schedules(queue, [TASK])
    old = hold_primary(queue, agent="a1", node_id="n1", lease_seconds=60)
    queue.execute("UPDATE workerctl.leadership SET lease_until = now() - interval '1 second'")
    due = dt.datetime(2026, 1, 1, 3, tzinfo=dt.UTC)
    assert make_tick(queue, term=1, name="nightly", due_at=due, kind="report", payload={}) is None
    new = hold_primary(queue, agent="a2", node_id="n2", lease_seconds=60)
    assert (old, new) == (1, 2)
    assert make_tick(queue, term=1, name="nightly", due_at=due, kind="report", payload={}) is None
    assert make_tick(queue, term=2, name="nightly", due_at=due, kind="report", payload={}) is not None
    assert [job["kind"] for job in list_jobs(queue)] == ["report"]


def test_a_lease_taken_before_the_databases_clock_was_set_back_ends_no_later_than_one_taken_now(queue: Queue) -> None:
    hold_primary(queue, agent="a1", node_id="n1", lease_seconds=30)
    queue.execute("UPDATE workerctl.leadership SET lease_until = lease_until + interval '1 hour'")
    assert hold_primary(queue, agent="b1", node_id="n2", lease_seconds=30) is None, "its holder may be at work"
    row = queue.execute("SELECT lease_until - now() <= interval '30 seconds' FROM workerctl.leadership").fetchone()
    assert row == (True,)


def test_a_due_time_becomes_one_job_however_many_make_it(queue: Queue, database_url: str) -> None:
    set_schedules(queue, [TASK])
    hold_primary(queue, agent="a1", node_id="n1", lease_seconds=60)
    due = dt.datetime(2026, 1, 1, 3, tzinfo=dt.UTC)
    made: list[int | None] = []

    def tick() -> None:
        with connect(database_url, application="test") as connection:
            made.append(make_tick(connection, term=1, name="nightly", due_at=due, kind="report", payload={"n": 1}))

    threads = [threading.Thread(target=tick) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([job_id for job_id in made if job_id is not None]) == 1
    assert len(list_jobs(queue)) == 1
    assert schedules(queue)[0]["last_tick_at"] == due


def test_a_changed_schedule_starts_from_now(queue: Queue) -> None:
    first = set_schedules(queue, [TASK])["nightly"]
    assert set_schedules(queue, [TASK])["nightly"] == first
    assert set_schedules(queue, [TASK | {"cron": "0 4 * * *"}])["nightly"] > first


def test_a_paused_task_makes_no_due_times_and_does_not_make_up_for_them(queue: Queue) -> None:
    set_schedules(queue, [TASK])
    term = hold_primary(queue, agent="a1", node_id="n1", lease_seconds=60)
    assert term is not None
    assert pause_schedule(queue, "nightly", paused=True)
    due = database_now(queue) + dt.timedelta(seconds=1)
    assert make_tick(queue, term=term, name="nightly", due_at=due, kind="report", payload={}) is None
    assert pause_schedule(queue, "nightly", paused=False)
    assert set_schedules(queue, [TASK])["nightly"] == due
    assert run_schedule(queue, "nothing") is None
    assert not pause_schedule(queue, "nothing", paused=True)


def test_what_fell_due_while_a_task_was_paused_and_nobody_was_primary_is_not_made_up_for(queue: Queue) -> None:
    set_schedules(queue, [TASK])
    pause_schedule(queue, "nightly", paused=True)
    queue.execute("UPDATE workerctl.schedule SET last_due_at = now() - interval '2 days'")
    resumed = database_now(queue)
    pause_schedule(queue, "nightly", paused=False)
    assert set_schedules(queue, [TASK])["nightly"] >= resumed


def test_a_task_is_run_by_hand_as_it_is_when_it_is_due_admission_or_not(queue: Queue) -> None:
    set_schedules(queue, [TASK])
    configure_limits(queue, {}, {}, {"report": 0})
    assert show_job(queue, run_schedule(queue, "nightly") or 0)["kind"] == "report"


def test_a_task_that_is_no_longer_configured_is_forgotten(queue: Queue) -> None:
    set_schedules(queue, [TASK])
    set_schedules(queue, [])
    assert schedules(queue) == []


def test_a_paused_queue_hands_out_nothing_and_says_so(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("a", conn=queue)
    worker = new_worker()
    pause_queue(queue, "default", paused=True)
    assert worker.claims(1) == []
    assert queues_with_due_jobs(queue) == {}
    assert "paused" in show_job(queue, job_id)["waits_because"]
    assert [(row["queue"], row["paused"], row["due"]) for row in queues(queue)] == [("default", True, 1)]
    pause_queue(queue, "default", paused=False)
    assert worker.claims(1) == [(job_id, 1)]


@pytest.mark.parametrize("paused", [True, False])
def test_a_lane_that_is_being_made_hears_of_its_queues_pause(
    queue: Queue, new_worker: Any, database_url: str, *, paused: bool
) -> None:
    pause_queue(queue, "default", paused=not paused)
    worker = new_worker()
    with connect(database_url, application="test") as producer:
        pausing = threading.Thread(target=lambda: pause_queue(queue, "default", paused=paused))
        with producer.transaction():
            job_id = enqueue("a", conn=producer)
            pausing.start()
            pausing.join(timeout=0.3)
            assert pausing.is_alive(), "it waits for the lane"
        pausing.join()
    assert worker.claims(1) == ([] if paused else [(job_id, 1)])


@pytest.mark.parametrize("paused", [True, False])
def test_a_lane_that_is_made_while_its_queue_is_being_paused_waits_for_it(
    queue: Queue, new_worker: Any, database_url: str, *, paused: bool
) -> None:
    pause_queue(queue, "default", paused=not paused)
    worker = new_worker()
    made: list[int] = []
    with connect(database_url, application="test") as producer:
        enqueue("b", queue="second", conn=producer)  # what it does is planned: the next one waits for the lock alone
        making = threading.Thread(target=lambda: made.append(enqueue("a", conn=producer)))
        with queue.transaction():
            pause_queue(queue, "default", paused=paused)
            making.start()
            making.join(timeout=0.3)
            assert making.is_alive(), "it waits for the pause"
        making.join()
    assert [job for job, _ in worker.claims(8)][1:] == ([] if paused else made)


def test_nodes_are_listed_with_their_work(queue: Queue, new_worker: Any) -> None:
    renew(queue)
    renew(queue, "n2", lease=0.001)
    hold_primary(queue, agent="a1", node_id="n1", lease_seconds=60)
    enqueue("a", conn=queue)
    new_worker().claims(1)
    rows = nodes(queue)
    assert [(row["host"], row["alive"], row["is_primary"], row["workers"], row["jobs_running"]) for row in rows] == [
        ("n1", True, True, 1, 1),
        ("n2", False, False, 0, 0),
    ]


def test_a_node_that_is_gone_for_as_long_as_retention_keeps_is_forgotten(queue: Queue) -> None:
    for name in ("alive", "gone", "long gone"):
        renew(queue, name)
    queue.execute("UPDATE workerctl.node SET lease_until = now() - interval '9 days' WHERE id = 'gone'")
    queue.execute("UPDATE workerctl.node SET lease_until = now() - interval '11 days' WHERE id = 'long gone'")
    kept = dt.timedelta(days=10)
    queue.execute(statement("drop_old"), {"keep": kept, "keep_spend": kept})
    assert {row["id"] for row in nodes(queue)} == {"alive", "gone"}


def test_upkeep_makes_days_ahead_and_drops_the_old_ones(queue: Queue, new_worker: Any) -> None:
    partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'workerctl.history'::regclass"
    before = queue.execute(partitions).fetchone()
    queue.execute("SELECT workerctl.make_partitions(5)")
    after = queue.execute(partitions).fetchone()
    assert before is not None
    assert after is not None
    assert after[0] == before[0] + 2
    queue.execute("CREATE TABLE workerctl.history_20200101 PARTITION OF workerctl.history"
                  " FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')")  # fmt: skip
    queue.execute(statement("drop_days"), {"keep": dt.timedelta(days=30)})
    assert queue.execute("SELECT to_regclass('workerctl.history_20200101')").fetchone() == (None,)
    assert queue.execute(partitions).fetchone() == after


def test_upkeep_gives_way_to_who_reads_history_for_long(queue: Queue, database_url: str) -> None:
    queue.execute("CREATE TABLE workerctl.history_20200101 PARTITION OF workerctl.history"
                  " FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')")  # fmt: skip
    queue.execute("SET lock_timeout = 0; SET statement_timeout = '20s'")
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT count(*) FROM workerctl.job")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            queue.execute(statement("drop_days"), {"keep": dt.timedelta(days=30)})
    queue.execute(statement("drop_days"), {"keep": dt.timedelta(days=30)})
    assert queue.execute("SELECT to_regclass('workerctl.history_20200101')").fetchone() == (None,)


def test_retention_keeps_the_last_due_time_of_a_task(queue: Queue) -> None:
    set_schedules(queue, [TASK])
    for name, year in (("nightly", 2023), ("nightly", 2024), ("forgotten", 2024)):
        queue.execute(
            "INSERT INTO workerctl.tick VALUES (%s, %s, 1, 1)", [name, dt.datetime(year, 1, 1, tzinfo=dt.UTC)]
        )
    queue.execute("SELECT workerctl.drop_old('30 days')")
    left = queue.execute("SELECT name, extract(year FROM due_at)::integer FROM workerctl.tick").fetchall()
    assert left == [("nightly", 2024)]


def test_what_the_default_partition_caught_moves_to_its_day(queue: Queue, new_worker: Any) -> None:
    today = queue.execute("SELECT 'workerctl.history_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')").fetchone()
    assert today is not None
    queue.execute(f"DROP TABLE {today[0]}")
    job_id = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    from workerctl.broker.exchange import Ended

    worker.says(ended=[Ended(job_id, 1, "succeeded")])
    assert queue.execute("SELECT count(*) FROM workerctl.history_default").fetchone() == (1,)
    queue.execute("SELECT workerctl.make_partitions(0)")
    assert queue.execute("SELECT count(*) FROM workerctl.history_default").fetchone() == (0,)
    assert show_job(queue, job_id)["status"] == "succeeded"


def test_what_the_default_partition_caught_of_days_that_are_over_goes_with_retention(queue: Queue) -> None:
    queue.execute("""
        INSERT INTO workerctl.history (id, status, finished_at, kind, queue, priority, max_attempts, failures, deaths,
               attempt, children_total, children_succeeded, children_dead, children_cancelled, run_at, created_at,
               payload)
        SELECT n, 'succeeded', now() - make_interval(days => n), 'a', 'q', 0, 3, 0, 0, 1, 0, 0, 0, 0, now(), now(), '{}'
          FROM generate_series(1, 40) AS n""")
    kept = dt.timedelta(days=30, hours=1)
    assert queue.execute(statement("drop_old"), {"keep": kept, "keep_spend": kept}).fetchone() == (10,)
    assert queue.execute("SELECT max(id), count(*) FROM workerctl.history_default").fetchone() == (30, 30)


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(Unreachable) as caught:
        connect("postgresql://u:s3cret@127.0.0.1:1/db", application="test")
    assert "127.0.0.1:1/db" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_of_two_homes_with_one_id_the_second_is_refused_while_the_first_lives(queue: Queue) -> None:
    def renew(place: str) -> None:
        renew_node(queue, node_id="n1", host=place, version="1", cores=1, lease_seconds=30, place=place)

    renew("here")
    renew("here")
    with pytest.raises(NodeTaken, match="the id of this node, n1, is that of a home on host here as well") as refused:
        renew("there")
    with pytest.raises(NodeTaken) as again:
        renew("there")
    assert again.value.renewed_at == refused.value.renewed_at, "it has not renewed its lease meanwhile"
    queue.execute("UPDATE workerctl.node SET renewed_at = now() - interval '7 seconds'")
    renew("there")
    with pytest.raises(NodeTaken):
        renew("here")
    queue.execute("UPDATE workerctl.node SET renewed_at = now() + interval '1 hour'")
    renew("here")  # who lives would have renewed it since the database's clock was set back
