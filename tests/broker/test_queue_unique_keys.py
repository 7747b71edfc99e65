"""Two jobs with one unique key: in one call, and with one that ends meanwhile."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from workerctl import QueueFull
from workerctl.broker.connection import connect
from workerctl.broker.jobs import cancel_jobs, list_jobs
from workerctl.broker.limits import configure_limits
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]
AFTER_EACH_INSERT = """
CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
CREATE TRIGGER wait_here AFTER INSERT ON workerctl.live FOR EACH STATEMENT EXECUTE FUNCTION wait_here()
"""
WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted)"


def test_the_first_comes_to_be_and_both_are_told_its_id(queue: Queue) -> None:
    jobs = [{"kind": "a", "payload": {"n": n}, "unique_key": f"k{n % 3}", "user_id": f"u{-n}"} for n in range(60)]
    ids = enqueue_many(jobs, conn=queue)
    assert ids == ids[:3] * 20
    assert {row["payload"]["n"] for row in list_jobs(queue, limit=100)} == {0, 1, 2}


def test_they_take_one_place_of_what_is_admitted(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 2})
    job = {"kind": "a", "plan": "free"}
    first, *others = enqueue_many([job | {"unique_key": "k"}] * 3 + [job], conn=queue)
    assert others[:2] == [first, first]
    with pytest.raises(QueueFull):
        enqueue_many([job | {"unique_key": "other"}] * 2, conn=queue)


def test_where_the_job_that_had_the_key_ends_at_that_moment_there_is_a_new_one(queue: Queue, database_url: str) -> None:
    first = enqueue("a", unique_key="k", conn=queue)
    queue.execute(AFTER_EACH_INSERT)
    found: list[int] = []
    with connect(database_url, application="producer") as producer:
        thread = threading.Thread(target=lambda: found.append(enqueue("a", unique_key="k", conn=producer)))
        with queue.transaction():
            queue.execute("SELECT pg_advisory_xact_lock(4711)")
            thread.start()
            while queue.execute(WAITS).fetchone() != (True,):
                assert thread.is_alive()
            with connect(database_url, application="user") as user:
                assert cancel_jobs(user, [first]) == 1
        thread.join()
    assert list_jobs(queue)[0]["id"] == found[0] != first
