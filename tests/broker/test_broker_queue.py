"""The queue's promises, told by workers who speak to a real PostgreSQL."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
from typing import Any, LiteralString

import msgspec
import psycopg
import pytest
from broker_ends import ended, status
from psycopg.rows import dict_row

from workerctl.broker.exchange import Again, Ended, FollowUp, Parent, Progress
from workerctl.broker.fleet import release_worker
from workerctl.broker.jobs import NoSuchJob, cancel_jobs, list_jobs, retry_jobs, show_job
from workerctl.broker.migrate import migrate, migrations
from workerctl.contract import Unusable
from workerctl.producer import enqueue, enqueue_async, enqueue_many

Queue = psycopg.Connection[Any]


def test_migrations_run_once_and_only_know_their_own_text(queue: Queue) -> None:
    assert migrate(queue) == []
    queue.execute("UPDATE workerctl.migration SET checksum = 'other' WHERE version = 1")
    with pytest.raises(Unusable, match="differs"):
        migrate(queue)
    queue.execute("DELETE FROM workerctl.migration")
    queue.execute("INSERT INTO workerctl.migration VALUES (9999, '9999_future', 'post', 'x')")
    with pytest.raises(Unusable, match="upgrade workerctl"):
        migrate(queue)
    versions = [migration.version for migration in migrations()]
    assert versions == sorted(set(versions))


def test_two_migrations_at_once_both_succeed(database_url: str) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with psycopg.connect(database_url, autocommit=True) as connection:
                migrate(connection)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_job_is_claimed_run_and_kept_in_history(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("a", {"text": "三国演义"}, user_id="u1", plan="paid", conn=queue)
    worker = new_worker()
    reply = worker.says(want=8)
    assert [(job.id, msgspec.json.decode(job.payload), job.attempt) for job in reply.claimed] == [
        (job_id, {"text": "三国演义"}, 1)
    ]
    assert status(queue, job_id) == "running"
    assert worker.says(ended=[ended((job_id, 1), result=msgspec.Raw(b'{"n": 1}'))]).lost is None
    row = show_job(queue, job_id)
    assert (row["status"], row["result"], row["node"], row["worker"]) == (
        "succeeded",
        {"n": 1},
        "host",
        "default/1",
    )
    assert row["finished_at"] is not None


def test_a_late_settlement_touches_nothing(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("a", conn=queue)
    first, second = new_worker(), new_worker()
    assert first.claims(1) == [(job_id, 1)]
    assert first.says(again=[Again(job_id, 1)]).lost is None
    assert second.claims(1) == [(job_id, 2)]
    assert first.says(ended=[ended((job_id, 1))]).lost == [job_id]
    assert second.says(ended=[ended((job_id, 1))]).lost == [job_id], "an older attempt of the same worker"
    assert status(queue, job_id) == "running"
    assert second.says(ended=[ended((job_id, 2))]).lost is None


@pytest.mark.parametrize("holder", ["another", "nobody", "itself, with the next attempt"])
def test_nothing_that_is_said_of_a_job_counts_where_its_claim_is_not_this_one(
    queue: Queue, new_worker: Any, holder: str
) -> None:
    """A server that lost its last commits in a crash hands an attempt out again, to whoever comes first."""
    job_id = enqueue("a", conn=queue)
    late, another = new_worker(), new_worker()
    late.claims(1)
    now_held = {"another": (another.id, 1), "nobody": (None, 1)}.get(holder, (late.id, 2))
    queue.execute(
        "UPDATE workerctl.live SET worker_id = %s, attempt = %s, status ="
        " CASE WHEN %s THEN 'pending' ELSE 'running' END::workerctl.job_status",
        [*now_held, now_held[0] is None],
    )
    for said in (
        {"ended": [Ended(job_id, 1)]},
        {"ended": [Ended(job_id, 1, result=msgspec.Raw(b"1"))]},
        {"again": [Again(job_id, 1)]},
        {"parents": [Parent(job_id, 1, [{"kind": "a"}])]},
    ):
        assert late.says(**said, follow_ups=[FollowUp(job_id, {"kind": "a"})]).lost == [job_id]
    late.says(progress=[Progress(job_id, 1, 1, 2)])
    rows = queue.execute("SELECT id, worker_id, attempt, progress_done FROM workerctl.live").fetchall()
    assert rows == [(job_id, *now_held, None)]


def test_two_workers_never_get_the_same_job(queue: Queue, new_worker: Any) -> None:
    ids = enqueue_many([("a", {"n": n}) for n in range(400)], conn=queue)
    workers = [new_worker() for _ in range(4)]
    taken: list[list[tuple[int, int]]] = [[] for _ in workers]

    def drain(index: int) -> None:
        while jobs := workers[index].claims(7):
            taken[index] += jobs

    threads = [threading.Thread(target=drain, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(job for jobs in taken for job, _ in jobs) == ids


def test_order_is_run_at_earlier_by_priority(queue: Queue, new_worker: Any) -> None:
    first = enqueue("a", conn=queue)
    urgent = enqueue("b", priority=5, conn=queue)
    later = enqueue("a", run_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), conn=queue)
    assert [job for job, _ in new_worker().claims(8)] == [urgent, first]
    assert "due in" in show_job(queue, later)["waits_because"]


def test_a_failure_comes_back_later_and_keeps_its_error(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(again=[Again(job_id, 1, failed=True, delay_seconds=60, error="no luck")])
    row = show_job(queue, job_id)
    assert (row["status"], row["error"], row["failures"]) == ("pending", "no luck", 1)
    assert worker.claims(1) == []
    assert retry_jobs(queue, [job_id]) == 1, "a pending job that waits for its next attempt is due now"
    assert worker.claims(1) == [(job_id, 2)]


def test_a_job_that_is_handed_back_keeps_its_place_in_line(queue: Queue, new_worker: Any) -> None:
    first, second = enqueue("a", conn=queue), enqueue("a", conn=queue)
    worker = new_worker()
    assert worker.claims(1) == [(first, 1)]
    worker.says(again=[Again(first, 1, keeps_place=True)])
    assert worker.claims(1) == [(first, 2)]
    worker.says(again=[Again(first, 2)])
    assert [job for job, _ in worker.claims(2)] == [second, first], "a snooze goes to the end"


def test_a_kind_that_no_worker_knows_stays_pending_and_says_so(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("mystery", conn=queue)
    assert new_worker().claims(8) == []
    assert show_job(queue, job_id)["waits_because"] == "no worker knows the kind 'mystery'"


def test_a_pool_serves_its_queues_only(queue: Queue, new_worker: Any) -> None:
    own = enqueue("a", queue="content", conn=queue)
    enqueue("a", conn=queue)
    assert [job for job, _ in new_worker(queues=["content"]).claims(8)] == [own]


def test_a_kind_brings_its_queue_to_producers_in_any_language(queue: Queue, new_worker: Any) -> None:
    new_worker()
    queue.execute("UPDATE workerctl.kind SET queue = 'text', max_attempts = 7 WHERE name = 'a'")
    row = queue.execute("SELECT workerctl.enqueue('a', '{}')").fetchone()
    assert row is not None
    job = show_job(queue, row[0])
    assert (job["queue"], job["max_attempts"]) == ("text", 7)


def test_a_unique_key_returns_the_unfinished_job(queue: Queue, new_worker: Any) -> None:
    first = enqueue("a", unique_key="order-7", conn=queue)
    assert enqueue("a", unique_key="order-7", conn=queue) == first
    other, again = enqueue_many([{"kind": "b"}, {"kind": "a", "unique_key": "order-7"}], conn=queue)
    assert again == first
    assert other != first
    worker = new_worker()
    worker.says(ended=[ended(job) for job in worker.claims(8)])
    assert enqueue("a", unique_key="order-7", conn=queue) != first


def test_enqueue_belongs_to_the_callers_transaction(queue: Queue) -> None:
    with pytest.raises(ZeroDivisionError), queue.transaction():
        enqueue("a", conn=queue)
        raise ZeroDivisionError
    assert list_jobs(queue) == []


def test_a_callers_connection_may_have_rows_of_its_own_kind(queue: Queue, database_url: str) -> None:
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        first = enqueue("a", conn=connection)
        assert enqueue_many([("a", {}), {"kind": "a"}], conn=connection) == [first + 1, first + 2]

    async def later() -> int:
        async with await psycopg.AsyncConnection.connect(database_url, row_factory=dict_row) as connection:
            return await enqueue_async("a", conn=connection)

    assert asyncio.run(later()) == first + 3


def test_ctx_enqueue_counts_only_with_its_settlement(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    follow_up = FollowUp(job_id, {"kind": "b", "payload": {}})
    worker.says(ended=[ended((job_id, 99))], follow_ups=[follow_up])
    assert [row["kind"] for row in list_jobs(queue)] == ["a"]
    worker.says(ended=[ended((job_id, 1))], follow_ups=[follow_up])
    assert [row["kind"] for row in list_jobs(queue)] == ["b", "a"]


def test_a_dead_workers_jobs_go_back_at_once(queue: Queue, new_worker: Any) -> None:
    ids = enqueue_many([("a", None), ("a", None)], conn=queue)
    lost, other = new_worker(), new_worker()
    lost.claims(2)
    assert release_worker(queue, lost.incarnation, died=True) == 2
    assert release_worker(queue, lost.incarnation, died=True) == 0
    assert lost.says(want=1).gone
    assert other.claims(8) == [(ids[0], 2)], "after a death its jobs run alone"
    assert show_job(queue, ids[0])["deaths"] == 1


def test_a_job_that_was_alone_at_three_deaths_is_not_handed_out_again(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("a", conn=queue)
    for _ in range(3):
        worker = new_worker()
        assert worker.claims(8) != []
        release_worker(queue, worker.incarnation, died=True)
    row = show_job(queue, job_id)
    assert (row["status"], row["error"]) == ("dead", "its worker died 3 times with nothing but this job in hand")


def test_a_cancelled_job_of_a_dead_worker_is_not_run_again(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    cancel_jobs(queue, [job_id])
    release_worker(queue, worker.incarnation, died=True)
    assert status(queue, job_id) == "cancelled"


def test_progress_is_a_fraction_of_the_claim_that_made_it(queue: Queue, new_worker: Any) -> None:
    job_id = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(progress=[Progress(job_id, 1, 3, 7)])
    assert show_job(queue, job_id)["progress"] == {"done": 3, "total": 7}
    worker.says(progress=[Progress(job_id, 9, 4, 7)])
    assert show_job(queue, job_id)["progress"] == {"done": 3, "total": 7}


def test_an_enqueue_rings_and_a_flood_rings_seldom(queue: Queue, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN workerctl")
        started = queue.execute("SELECT clock_timestamp()").fetchone()
        for _ in range(100):
            enqueue_many([("a", None)] * 3, conn=queue)
        spent = queue.execute("SELECT extract(epoch FROM clock_timestamp() - %s)", started).fetchone()
        assert spent is not None
        rings = len(list(listener.notifies(timeout=0.5)))
        assert 1 <= rings <= float(spent[0]) / 0.020 + 2


@pytest.mark.parametrize(
    ("jobs", "milliseconds", "rings"),
    [(1, 2, False), (1, 3, True), (2, 3, True), (3, 3, False), (3, 19, False), (3, 20, True), (2_000_000, 3, False),
     (1, -1, True), (3, -5_000, True)],
)  # fmt: skip
def test_jobs_that_come_one_by_one_ring_sooner_than_many(
    queue: Queue, jobs: int, milliseconds: int, rings: bool
) -> None:
    job, now = 2**20 - 1, 1_800_000_000_000
    row = queue.execute(
        "SELECT workerctl.may_ring((%(now)s::bigint << 20) | (%(job)s::bigint & 1048575), %(job)s + %(jobs)s,"
        " %(now)s + %(milliseconds)s)",
        {"now": now, "job": job, "jobs": jobs, "milliseconds": milliseconds},
    ).fetchone()
    assert row == (rings,)


def test_ids_that_do_not_exist_are_said(queue: Queue) -> None:
    with pytest.raises(NoSuchJob, match="no job 42"):
        show_job(queue, 42)


def test_payloads_survive_as_they_were(queue: Queue, new_worker: Any) -> None:
    payload = {"文": "“引号”\\ \n", "n": 1.5, "deep": [{"x": None}]}
    enqueue("a", payload, conn=queue)
    claimed = new_worker().says(want=1).claimed
    assert json.dumps(msgspec.json.decode(claimed[0].payload), sort_keys=True) == json.dumps(payload, sort_keys=True)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("status = 'dead'", "only live states"),
        ("status = 'running', worker_id = 1", "running has started"),
        ("status = 'waiting'", "waiting has children"),
        ("children_dead = 1", "children add up"),
        ("child_index = 0", "a child has an index"),
        ("progress_done = 7, progress_total = 3", "progress is a fraction"),
        ("held = true", "only pending keyed jobs are held"),
        ("limit_keys = '{user:u}'", "a key has a limit"),
    ],
)
def test_a_row_that_breaks_a_rule_of_its_table_is_found(queue: Queue, change: LiteralString, rule: str) -> None:
    job = enqueue("a", conn=queue)
    assert queue.execute("SELECT * FROM workerctl.unsound").fetchall() == []
    queue.execute(f"UPDATE workerctl.live SET {change}")
    assert (job, rule) in queue.execute("SELECT id, rule FROM workerctl.unsound").fetchall()


def test_a_job_runs_at_a_worker_or_not_at_all(queue: Queue) -> None:
    enqueue("a", conn=queue)
    with pytest.raises(psycopg.errors.CheckViolation, match="running_has_a_worker"):
        queue.execute("UPDATE workerctl.live SET status = 'running', started_at = now()")


def test_a_warm_question_plans_what_comes_later_and_changes_nothing(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    reply = worker.says(want=1, warm=True)
    assert (reply.claimed, reply.lost, reply.more) == (None, None, False)
    job_id = enqueue("a", conn=queue)
    assert [job.id for job in worker.says(want=1, warm=True).claimed] == [job_id]
    assert worker.says(ended=[Ended(job_id, 1)]).lost is None
    assert status(queue, job_id) == "succeeded"
