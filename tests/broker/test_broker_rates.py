"""A long backlog of a key with a high rate: a claim counts its starts once, and the agent looks when there is room."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from workerctl.broker.exchange import Request, exchange
from workerctl.broker.fleet import bring_due, next_start_seconds
from workerctl.broker.limits import configure_limits, tidy_limits
from workerctl.producer import enqueue_many

Queue = psycopg.Connection[Any]
KEYED = "user:{user_id}"


def backlog(queue: Queue, name: str, most: int, started: int, jobs: int = 400) -> None:
    """So many jobs of user u, or of kind a, `started` of whose rate of `most` in 10 s began 4 s ago."""
    configure_limits(queue, {}, {name: (most, 10.0)}, {})
    enqueue_many([{"kind": "a", "user_id": "u"}] * jobs, conn=queue)
    key = "user:u" if name == KEYED else name
    queue.execute(
        "INSERT INTO workerctl.start (key, at) SELECT %s, now() - interval '4 s' FROM generate_series(1, %s)",
        [key, started],
    )


@pytest.mark.parametrize("room", [100, 30, 0])
def test_a_claim_counts_the_starts_of_a_key_once_whether_its_jobs_may_start_or_not(
    queue: Queue, new_worker: Any, room: int
) -> None:
    """To count them for each job anew was 150 us a job of a rate of 1,000: such a rate was never reached."""
    backlog(queue, KEYED, 3000, 3000 - room)
    worker = new_worker()
    with worker.connection.transaction():
        reply = exchange(worker.connection, worker.id, Request(want=64))
        [(read,)] = worker.connection.execute(
            "SELECT pg_stat_get_xact_tuples_returned('workerctl.start_key'::regclass)"
        ).fetchall()
    assert len(reply.claimed or []) == min(room, 64)
    assert 0 < read < 4 * 3000 + 400, "once a look"
    held = queue.execute("SELECT count(*) FROM workerctl.live WHERE held").fetchone()
    assert (held == (0,)) == (room >= 64)


@pytest.mark.parametrize("name", [KEYED, "a"])
def test_the_agent_knows_when_the_next_job_of_a_used_up_rate_may_start(
    queue: Queue, new_worker: Any, name: str
) -> None:
    backlog(queue, name, 50, 50)
    assert new_worker().claims(8) == []
    assert 5 < next_start_seconds(queue) <= 6, "10 s after those that began 4 s ago"
    queue.execute("UPDATE workerctl.start SET at = at - interval '7 s'")
    queue.execute("UPDATE workerctl.used_up SET free_at = free_at - interval '7 s'")
    assert next_start_seconds(queue) <= 0 or name == "a"
    bring_due(queue)
    assert len(new_worker().claims(8)) == 8


def test_nothing_waits_for_a_rate_that_has_room(queue: Queue) -> None:
    backlog(queue, "a", 50, 49)
    assert next_start_seconds(queue) == float("inf")


def test_a_start_is_kept_for_its_own_rate_and_not_for_as_long_as_the_longest(queue: Queue) -> None:
    configure_limits(queue, {}, {"a": (50, 1.0), "b": (10, 86400.0), KEYED: (5, 60.0)}, {})
    queue.execute(
        "INSERT INTO workerctl.start (key, at) SELECT k, now() - s * interval '1 s'"
        " FROM unnest('{a,b,user:u,gone}'::text[]) k, unnest('{0.5,30,3600}'::float[]) s"
    )
    tidy_limits(queue)
    left = queue.execute("SELECT key, count(*) FROM workerctl.start GROUP BY key ORDER BY key").fetchall()
    assert left == [("a", 1), ("b", 3), ("gone", 2), ("user:u", 2)]
