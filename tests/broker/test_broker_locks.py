"""Who settles, retries and cancels within one family meets the others in its rows, and nobody is told of a deadlock."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from broker_beside import Beside, until_waiting

from workerctl.broker.connection import connect
from workerctl.broker.exchange import Again, Ended, Parent, Progress
from workerctl.broker.jobs import cancel_jobs, retry_jobs, show_job
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]


def children(kind: str, count: int) -> list[dict[str, Any]]:
    return [{"kind": kind, "payload": {}} for _ in range(count)]


def test_two_who_settle_on_different_levels_of_one_family_wait_for_each_other_in_one_direction(
    queue: Queue, database_url: str, new_worker: Any
) -> None:
    family = enqueue("a", conn=queue)
    one, other = new_worker(), new_worker()
    one.claims(1)
    one.says(parents=[Parent(family, 1, children("b", 2))])
    (batch, _), (single, _) = one.claims(2)
    one.says(parents=[Parent(batch, 1, children("a", 2))])
    [(first, _)] = one.claims(1)
    [(second, _)] = other.claims(1)
    with connect(database_url, application="blocker") as blocker, blocker.transaction():
        blocker.execute("SELECT FROM workerctl.live WHERE id = %s FOR UPDATE", [family])
        ends = [Beside(lambda: one.says(ended=[Ended(first, 1), Ended(single, 1)]))]
        until_waiting(queue, 1)
        ends.append(Beside(lambda: other.says(ended=[Ended(second, 1)])))
        until_waiting(queue, 2)
    assert [end.end().lost for end in ends] == [None, None]
    assert show_job(queue, family)["status"] == "succeeded"


@pytest.mark.parametrize("ends_first", [True, False])
def test_who_cancels_a_family_makes_way_for_a_worker_that_settles_in_it(
    queue: Queue, database_url: str, new_worker: Any, ends_first: bool
) -> None:
    family = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(parents=[Parent(family, 1, children("b", 2))])
    held = [job for job, _ in worker.claims(2)]
    done, goes_on = held if ends_first else reversed(held)
    with (
        connect(database_url, application="blocker") as blocker,
        connect(database_url, application="user") as user,
        blocker.transaction(),
    ):
        blocker.execute("SELECT FROM workerctl.live WHERE id = %s FOR UPDATE", [family])
        said = {"ended": [Ended(done, 1)], "progress": [Progress(goes_on, 1, 1, 2)]}
        settled = Beside(lambda: worker.says(**said))
        until_waiting(queue, 1)
        cancelled = Beside(lambda: cancel_jobs(user, [family]))
        until_waiting(queue, 2)
        blocker.execute("COMMIT")
        settled.end()
        assert cancelled.end() == 2
    assert worker.says(renew_seconds=30.0).cancel == [goes_on]
    assert show_job(queue, goes_on)["progress"] == {"done": 1, "total": 2}


def test_who_ends_jobs_twice_in_one_word_meets_another_of_their_family_in_one_direction(
    queue: Queue, database_url: str, new_worker: Any
) -> None:
    """One that succeeded, and one to be tried again that was cancelled: each counts into a batch of one family."""
    family = enqueue("a", conn=queue)
    one, other = new_worker(), new_worker()
    one.claims(1)
    one.says(parents=[Parent(family, 1, children("b", 2))])
    one.says(parents=[Parent(batch, 1, children("a", 2)) for batch, _ in one.claims(2)])
    (first, _), (_, _), (unwanted, _) = one.claims(3)
    [(last, _)] = other.claims(1)
    cancel_jobs(queue, [unwanted])
    with connect(database_url, application="blocker") as blocker, blocker.transaction():
        blocker.execute("SELECT FROM workerctl.live WHERE id = %s FOR UPDATE", [family])
        ends = [Beside(lambda: one.says(ended=[Ended(first, 1)], again=[Again(unwanted, 1)]))]
        until_waiting(queue, 1)
        ends.append(Beside(lambda: other.says(ended=[Ended(last, 1)])))
        until_waiting(queue, 2)
    assert [end.end().lost for end in ends] == [None, None]
    assert show_job(queue, unwanted)["status"] == "cancelled"


def test_who_cancels_and_who_retries_in_one_family_do_not_meet_in_its_rows(
    queue: Queue, database_url: str, new_worker: Any
) -> None:
    """A cancel that came to a job revived meanwhile waited for the worker that had it, and that one for the batch."""
    family = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(parents=[Parent(family, 1, children("b", 2))])
    [(dead, _)] = worker.claims(1)
    worker.says(ended=[Ended(dead, 1, "dead")])
    with connect(database_url, application="retry") as user, connect(database_url, application="cancel") as another:
        with user.transaction():
            retry_jobs(user, [dead])
            cancelled = Beside(lambda: cancel_jobs(another, [family]))
            until_waiting(queue, 1)
            [(state,)] = queue.execute(
                "SELECT wait_event FROM pg_stat_activity WHERE application_name = 'workerctl cancel'"
            ).fetchall()
            assert state == "advisory"
        assert cancelled.end() == 3
    assert show_job(queue, family)["status"] == "cancelled"


def test_two_who_enqueue_the_same_unique_keys_in_another_order_wait_for_each_other_in_one_direction(
    queue: Queue, database_url: str
) -> None:
    enqueue("a", conn=queue)  # its lane is there
    queue.execute("""
        CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711) WHERE NEW.payload ? 'waits'; RETURN NEW; END $$;
        CREATE TRIGGER wait_here BEFORE INSERT ON workerctl.live FOR EACH ROW EXECUTE FUNCTION wait_here()""")
    queue.execute("SELECT pg_advisory_lock(4711)")
    jobs = [{"kind": "a", "unique_key": key, "payload": payload} for key, payload in (("k", {}), ("l", {"waits": 1}))]
    others = [{"kind": "a", "unique_key": key, "payload": payload} for key, payload in (("l", {}), ("k", {"waits": 1}))]
    with connect(database_url, application="one") as one, connect(database_url, application="other") as other:
        first = Beside(lambda: enqueue_many(jobs, conn=one))
        second = Beside(lambda: enqueue_many(others, conn=other))
        until_waiting(queue, 2)
        queue.execute("SELECT pg_advisory_unlock(4711)")
        assert first.end() == second.end()[::-1]
