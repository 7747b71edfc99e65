"""A kind that the code no longer has: its jobs wait, whatever state they were in, and go on once it is back."""

from __future__ import annotations

from typing import Any

import psycopg

from workerctl.broker.exchange import Again, Ended, Parent
from workerctl.broker.fleet import release_worker
from workerctl.broker.jobs import show_job
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]


def test_jobs_of_a_kind_that_is_gone_wait_in_every_state_and_are_taken_once_it_is_back(
    queue: Queue, new_worker: Any
) -> None:
    failed, snoozed, deadly, parent, pending = jobs = enqueue_many([("gone", None)] * 5, conn=queue)
    old = new_worker(("gone", "a"))
    assert len(old.claims(4)) == 4
    old.says(
        again=[Again(failed, 1, failed=True, error="once"), Again(snoozed, 1)],
        parents=[Parent(parent, 1, [{"kind": "gone"}], on_done={"kind": "gone"})],
    )
    assert release_worker(queue, old.incarnation, died=True) == 1
    new = new_worker(("a",))
    other = enqueue("a", conn=queue)
    assert new.claims(8) == [(other, 1)], "its own kind is not held up"
    children = [row[0] for row in queue.execute("SELECT id FROM workerctl.live WHERE parent_id = %s", [parent])]
    for job in (failed, snoozed, deadly, pending, *children):
        shown = show_job(queue, job)
        assert (shown["status"], shown["waits_because"]) == ("pending", "no worker knows the kind 'gone'")
    assert show_job(queue, parent)["waits_because"] == "1 of 1 children are not done"
    back = new_worker(("gone",))
    assert back.claims(8) == [(deadly, 2)], "a worker died with it: it runs alone"
    back.says(again=[Again(deadly, 2)])
    taken: list[int] = []
    while found := back.claims(1):
        taken.append(found[0][0])
        back.says(ended=[Ended(*found[0])])
    assert set(taken) >= {*jobs, *children} - {parent}
    assert show_job(queue, parent)["status"] == "succeeded"
    assert queue.execute("SELECT count(*) FROM workerctl.live WHERE status <> 'running'").fetchone() == (0,)
