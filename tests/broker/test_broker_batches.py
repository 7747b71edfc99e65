"""A batch: a job that waits for its children, counts them and goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from broker_ends import ended, status

from workerctl.broker.exchange import Parent
from workerctl.broker.jobs import cancel_jobs, list_jobs, retry_jobs, show_job
from workerctl.producer import enqueue

Queue = psycopg.Connection[Any]


def begin_batch(queue: Queue, worker: Any, children: int) -> int:
    batch = enqueue("a", conn=queue)
    assert worker.claims(1) == [(batch, 1)]
    parent = Parent(batch, 1, [{"kind": "b", "payload": {"n": n}} for n in range(children)],
                    on_done={"kind": "a", "payload": {"parent": batch}})  # fmt: skip
    assert worker.says(parents=[parent]).lost is None
    return batch


def test_one_failed_child_does_not_spoil_the_batch(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    batch = begin_batch(queue, worker, 3)
    assert status(queue, batch) == "waiting"
    children = worker.claims(8)
    worker.says(ended=[ended(children[0]), ended(children[1], "dead", error="no paint")])
    assert "1 of 3 children" in show_job(queue, batch)["waits_because"]
    assert show_job(queue, batch)["progress"] == {"done": 2, "total": 3}
    assert next(row for row in list_jobs(queue) if row["id"] == batch)["progress"] == {"done": 2, "total": 3}
    worker.says(ended=[ended(children[2])])
    row = show_job(queue, batch)
    assert (row["status"], row["children_succeeded"], row["children_dead"]) == ("succeeded", 2, 1)
    continuation = worker.says(want=8).claimed
    assert [msgspec.json.decode(job.payload) for job in continuation] == [{"parent": batch}]


def test_retry_of_a_batch_redoes_just_the_failed_children(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    batch = begin_batch(queue, worker, 3)
    children = worker.claims(8)
    worker.says(ended=[ended(children[0]), ended(children[1], "dead"), ended(children[2], "dead")])
    worker.says(ended=[ended(job) for job in worker.claims(8)])
    assert retry_jobs(queue, [batch]) == 2
    assert status(queue, batch) == "waiting"
    redone = worker.claims(8)
    assert redone == [(children[1][0], 2), (children[2][0], 2)], "the attempt is never reset"
    worker.says(ended=[ended(job) for job in redone])
    row = show_job(queue, batch)
    assert (row["status"], row["children_succeeded"], row["children_dead"]) == ("succeeded", 3, 0)
    assert retry_jobs(queue, [batch]) == 0
    continuation = worker.says(want=8).claimed
    assert [msgspec.json.decode(job.payload) for job in continuation] == [{"parent": batch}], "again, over all of them"


def test_a_batch_whose_children_all_died_is_dead(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    batch = begin_batch(queue, worker, 2)
    worker.says(ended=[ended(job, "dead") for job in worker.claims(8)])
    row = show_job(queue, batch)
    assert (row["status"], row["error"]) == ("dead", "2 of 2 children failed")
    assert worker.claims(8) == [], "no continuation of nothing"


def test_a_batch_in_a_batch_counts_upwards(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    outer = begin_batch(queue, worker, 1)
    inner = worker.claims(1)[0]
    worker.says(parents=[Parent(*inner, [{"kind": "b"}])])
    worker.says(ended=[ended(job) for job in worker.claims(8)])
    assert (status(queue, inner[0]), status(queue, outer)) == ("succeeded", "succeeded")


def test_retry_of_a_batch_reaches_what_failed_in_batches_below_it(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    outer = enqueue("a", conn=queue)
    worker.says(parents=[Parent(*worker.claims(1)[0], [{"kind": "b"}])])
    [middle] = worker.claims(1)
    worker.says(parents=[Parent(*middle, [{"kind": "b"}] * 2)])
    first, second = worker.claims(8)
    worker.says(parents=[Parent(*first, [{"kind": "b"}] * 2), Parent(*second, [{"kind": "b"}] * 2)])
    leaves = worker.claims(8)
    worker.says(ended=[ended(leaves[0]), ended(leaves[1], "dead"), ended(leaves[2], "dead")])
    assert (status(queue, first[0]), status(queue, second[0])) == ("succeeded", "waiting")
    assert retry_jobs(queue, [outer]) == 2, "below the one that has ended, and below the one that has not"
    redone = sorted(worker.claims(8))
    assert redone == [(leaves[1][0], 2), (leaves[2][0], 2)]

    worker.says(ended=[ended(redone[0], "dead"), ended(redone[1]), ended(leaves[3])])
    assert status(queue, outer) == "succeeded", "as its child did, and the batches below that"
    assert retry_jobs(queue, [outer]) == 1
    above = [status(queue, job) for job in (outer, middle[0], first[0], second[0])]
    assert above == ["waiting", "waiting", "waiting", "succeeded"]
    worker.says(ended=[ended(job) for job in worker.claims(8)])
    assert status(queue, outer) == "succeeded"
    assert retry_jobs(queue, [outer]) == 0


def test_cancel_ends_what_is_pending_and_asks_what_runs(queue: Queue, new_worker: Any) -> None:
    worker = new_worker()
    batch = begin_batch(queue, worker, 3)
    running = worker.claims(1)[0]
    assert cancel_jobs(queue, [batch]) == 4
    assert worker.says(renew_seconds=30.0).cancel == [running[0]]
    assert status(queue, batch) == "waiting"
    worker.says(ended=[ended(running, "cancelled")])
    assert status(queue, batch) == "cancelled"
    assert worker.claims(8) == []
    assert cancel_jobs(queue, [batch]) == 0
