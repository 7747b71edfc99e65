"""What a worker may rely on when it has lost its connection: whose its claims are, and what still arrives late."""

from __future__ import annotations

import threading
from typing import Any

import psycopg

from workerctl.broker.connection import connect
from workerctl.broker.exchange import Ended, Request, Resumed, exchange, resume
from workerctl.broker.fleet import KnownKind, Registration, register_worker
from workerctl.broker.jobs import cancel_jobs, show_job
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]
READ = """
SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid))::integer
  FROM pg_index WHERE indrelid = 'workerctl.live'::regclass
"""


def test_a_registration_whose_answer_was_lost_is_made_again(queue: Queue) -> None:
    worker = Registration("n1.1", "n1", "host", "default", 1, 1, None, [], 30)
    known = [KnownKind("a", "default", 3, 1)]
    first = register_worker(queue, worker, known)
    assert register_worker(queue, worker, known) == first


def test_what_a_worker_said_over_an_earlier_connection_is_not_heard_after_it_has_resumed(
    queue: Queue, new_worker: Any
) -> None:
    done, waiting = enqueue("a", conn=queue), enqueue("a", conn=queue)
    worker = new_worker()
    old = resume(worker.connection, worker.id, worker.incarnation)
    assert exchange(worker.connection, worker.id, Request(want=1, session=old.session)).claimed is not None
    assert resume(queue, worker.id, worker.incarnation).claims == {(done, 1)}
    late = Request(want=8, session=old.session, ended=[Ended(done, 1, "succeeded")])
    assert exchange(worker.connection, worker.id, late).gone
    assert (show_job(queue, done)["status"], show_job(queue, waiting)["status"]) == ("running", "pending")


def test_to_resume_waits_for_what_an_earlier_connection_has_under_way(
    queue: Queue, new_worker: Any, database_url: str
) -> None:
    job_id = enqueue("a", conn=queue)
    worker = new_worker()
    found = []
    with connect(database_url, application="test") as again:
        thread = threading.Thread(target=lambda: found.append(resume(again, worker.id, worker.incarnation)))
        with worker.connection.transaction():
            exchange(worker.connection, worker.id, Request(want=1))
            thread.start()
            thread.join(timeout=0.3)
            assert thread.is_alive()
        thread.join()
    assert found[0].claims == {(job_id, 1)}


def test_a_worker_that_was_given_up_resumes_with_nothing(queue: Queue) -> None:
    assert resume(queue, 12345, "n1.1") == Resumed(None, set())


def test_a_worker_whose_id_another_got_in_a_database_restored_from_a_dump_resumes_with_nothing(
    queue: Queue, new_worker: Any
) -> None:
    job_id = enqueue("a", conn=queue)
    newcomer = new_worker()
    assert newcomer.claims(1) == [(job_id, 1)]
    assert resume(queue, newcomer.id, "of before the dump") == Resumed(None, set())
    assert resume(queue, newcomer.id, newcomer.incarnation).session == 1, "the newcomer's own is still to come"


def test_a_renewal_reads_nothing_of_what_its_worker_ran_while_an_old_snapshot_keeps_it(
    queue: Queue, new_worker: Any, database_url: str
) -> None:
    worker = new_worker(seats=500)
    with connect(database_url, application="report") as report:
        report.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        report.execute("SELECT")
        enqueue_many([("a", {})] * 1000, conn=queue)
        claimed = worker.claims(1000)
        worker.says(ended=[Ended(job_id, attempt) for job_id, attempt in claimed])
        cancelled = enqueue("a", conn=queue)
        worker.claims(1)
        cancel_jobs(queue, [cancelled])
        with worker.connection.transaction():
            [(before,)] = worker.connection.execute(READ).fetchall()
            assert worker.says(renew_seconds=30).cancel == [cancelled]
            [(after,)] = worker.connection.execute(READ).fetchall()
    assert after - before < 10


def test_a_claim_says_whether_a_sibling_would_find_work(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    enqueue("a", conn=queue)
    assert not worker.says(want=1).more
    for kind in ("a", "a", "b"):
        enqueue(kind, conn=queue)
    assert [worker.says(want=1).more for _ in range(3)] == [True, True, False]
    assert not worker.says(want=1).claimed
