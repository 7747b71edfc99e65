"""Children that do not come to be, because an unfinished job has their unique key already."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec
import psycopg

from workerctl.broker.connection import connect
from workerctl.broker.exchange import Again, Ended, Parent
from workerctl.broker.jobs import list_jobs, retry_jobs, show_job
from workerctl.producer import enqueue

Queue = psycopg.Connection[Any]
AFTER = {"kind": "b", "payload": {"after": True}}


def child(key: str | None = None) -> dict[str, Any]:
    return {"kind": "a", "payload": {}} | ({"unique_key": key} if key else {})


def test_a_parent_waits_only_for_the_children_that_were_made(queue: Queue, new_worker: Any) -> None:
    enqueue("elsewhere", unique_key="taken", conn=queue)
    parent = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(parents=[Parent(parent, 1, [child(), child("taken"), child("mine"), child("mine")], on_done=AFTER)])
    assert show_job(queue, parent)["children_total"] == 2
    made = worker.claims(8)
    assert len(made) == 2
    worker.says(ended=[Ended(job, attempt, "succeeded") for job, attempt in made])
    assert show_job(queue, parent)["status"] == "succeeded"
    assert len(list_jobs(queue, kind="b")) == 1


def test_children_that_end_in_every_way_at_once_count_each_as_what_it_was(queue: Queue, new_worker: Any) -> None:
    parent, gone = enqueue("a", conn=queue), enqueue("a", conn=queue)
    worker, other = new_worker(), new_worker()
    worker.claims(1)
    worker.says(parents=[Parent(parent, 1, [child()] * 4)])
    assert other.claims(1) == [(gone, 1)]
    plain, telling, failed, again = worker.claims(4)
    worker.says(again=[Again(*again)])
    assert worker.claims(1) == [(again[0], 2)]
    ways = [
        Ended(*plain),
        Ended(*telling, result=msgspec.Raw(b"7")),
        Ended(*failed, "dead", error="why"),
        Ended(again[0], 2),
    ]
    assert worker.says(ended=[*ways, Ended(gone, 1)]).lost == [gone]
    row = show_job(queue, parent)
    assert (row["status"], row["children_succeeded"], row["children_dead"]) == ("succeeded", 3, 1)
    rows = [show_job(queue, job) for job, _ in (plain, telling, failed, again)]
    assert [(row["status"], row["result"], row["error"], row["attempt"]) for row in rows] == [
        ("succeeded", None, None, 1), ("succeeded", 7, None, 1), ("dead", None, "why", 1), ("succeeded", None, None, 2),
    ]  # fmt: skip
    assert show_job(queue, gone)["status"] == "running"


def test_a_parent_whose_children_all_exist_already_is_done_at_once(queue: Queue, new_worker: Any) -> None:
    enqueue("elsewhere", unique_key="taken", conn=queue)
    parent = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    reply = worker.says(parents=[Parent(parent, 1, [child("taken")], on_done=AFTER)])
    assert not reply.lost
    row = show_job(queue, parent)
    assert (row["status"], row["children_total"], row["worker"]) == ("succeeded", 0, "default/1")
    assert len(list_jobs(queue, kind="b")) == 1


def test_a_child_that_is_retried_while_its_parent_ends_takes_it_back_and_counts_once(
    queue: Queue, new_worker: Any, database_url: str
) -> None:
    parent = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(parents=[Parent(parent, 1, [child(), child()])])
    (failed, first), (last, attempt) = worker.claims(8)
    worker.says(ended=[Ended(failed, first, "dead", error="once")])

    def retry() -> None:
        with connect(database_url, application="test retry") as connection:
            assert retry_jobs(connection, [failed]) == 1

    retrying = threading.Thread(target=retry)
    with worker.connection.transaction():
        assert not worker.says(ended=[Ended(last, attempt, "succeeded")]).lost
        retrying.start()
        wait_for_a_lock(queue, "test retry")
    retrying.join(10)
    assert show_job(queue, parent)["status"] == "waiting"
    [(again, attempt)] = worker.claims(8)
    assert (again, attempt) == (failed, 2)
    worker.says(ended=[Ended(again, attempt, "succeeded")])
    ended = show_job(queue, parent)
    assert (ended["status"], ended["children_succeeded"], ended["children_dead"]) == ("succeeded", 2, 0)


def wait_for_a_lock(queue: Queue, application: str) -> None:
    deadline = time.monotonic() + 10
    query = "SELECT FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
    while queue.execute(query, [f"workerctl {application}"]).fetchone() is None:
        assert time.monotonic() < deadline, "nobody waits"
