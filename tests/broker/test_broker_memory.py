"""ctx.remember: durable, fenced, bounded, there for the next attempt, gone with retention."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from broker_beside import Beside, until_waiting

from workerctl.broker.connection import connect, statement
from workerctl.broker.exchange import Again, Ended
from workerctl.broker.fleet import release_worker
from workerctl.broker.jobs import job_memory, retry_jobs
from workerctl.handler import ClaimLost, Context, Job
from workerctl.producer import enqueue

Queue = psycopg.Connection[Any]


@dataclass
class Services:
    """What remembering needs of a worker: its second connection."""

    database_url: str
    storage: Any = None
    http: Any = None
    settings: Any = None

    def database(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return connect(self.database_url, application="test")


@pytest.fixture
def context(database_url: str) -> Callable[[int, int], Context]:
    return lambda job_id, attempt: Context(Job(job_id, "a", attempt=attempt), Services(database_url))


MakeContext = Callable[[int, int], Context]


def test_what_one_attempt_remembers_the_next_one_knows(queue: Queue, new_worker: Any, context: MakeContext):
    worker = new_worker()
    job_id = enqueue("a", conn=queue)
    [(_, attempt)] = worker.claims(1)
    ctx = context(job_id, attempt)
    assert ctx.remembered("request") is None
    assert ctx.remembered("request", "none") == "none"
    ctx.remember("request", {"id": "r-1", "路": [1, 2]})
    ctx.remember("other", 5)
    ctx.remember("other", None)
    worker.says(again=[Again(job_id, attempt)])
    [(_, later)] = worker.claims(1)
    assert context(job_id, later).remembered("request") == {"id": "r-1", "路": [1, 2]}
    assert job_memory(queue, job_id) == {"request": {"id": "r-1", "路": [1, 2]}}


def test_it_is_committed_before_it_returns_even_where_commits_are_not_durable(
    queue: Queue, new_worker: Any, database_url: str
):
    worker = new_worker()
    job_id = enqueue("a", conn=queue)
    [(_, attempt)] = worker.claims(1)
    with connect(database_url, application="test") as lax:
        lax.execute("SET synchronous_commit = off")
        with lax.transaction():
            lax.execute("SELECT workerctl.remember(%s, %s, 'k', '1')", [job_id, attempt])
            assert lax.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert lax.execute("SHOW synchronous_commit").fetchone() == ("off",)
    assert job_memory(queue, job_id) == {"k": 1}


def test_an_attempt_that_lost_its_claim_overwrites_nothing(queue: Queue, new_worker: Any, context: MakeContext):
    worker = new_worker()
    job_id = enqueue("a", conn=queue)
    [(_, first)] = worker.claims(1)
    worker.says(again=[Again(job_id, first)])
    with pytest.raises(ClaimLost):  # pending: nobody's
        context(job_id, first).remember("request", "late")
    [(_, second)] = worker.claims(1)
    context(job_id, second).remember("request", "good")
    with pytest.raises(ClaimLost, match=f"job {job_id} is not attempt {first}'s"):
        context(job_id, first).remember("request", "late")
    worker.says(ended=[Ended(job_id, second, "dead")])
    with pytest.raises(ClaimLost):
        context(job_id, second).remember("request", "later")
    assert job_memory(queue, job_id) == {"request": "good"}


def test_an_ended_job_that_is_retried_still_remembers(queue: Queue, new_worker: Any, context: MakeContext):
    worker = new_worker()
    job_id = enqueue("a", conn=queue)
    [(_, attempt)] = worker.claims(1)
    context(job_id, attempt).remember("k", 1)
    worker.says(ended=[Ended(job_id, attempt, "dead")])
    assert retry_jobs(queue, [job_id]) == 1
    [(_, later)] = worker.claims(1)
    assert later > attempt
    assert context(job_id, later).remembered("k") == 1


@pytest.mark.parametrize(
    ("key", "value"), [("", 1), ("k" * 201, 1), ("k", "x" * 65536), ("k", "a\0b")], ids=["none", "key", "value", "nul"]
)
def test_what_does_not_fit_is_refused(context: MakeContext, key: str, value: Any):
    with pytest.raises(ValueError, match="remember"):
        context(1, 1).remember(key, value)


def test_a_job_has_a_hundred_keys_at_most(queue: Queue, new_worker: Any, context: MakeContext):
    worker = new_worker()
    job_id = enqueue("a", conn=queue)
    [(_, attempt)] = worker.claims(1)
    queue.execute(
        "SELECT workerctl.remember(%s, %s, 'key ' || n, '1') FROM generate_series(1, 100) AS n", [job_id, attempt]
    )
    context(job_id, attempt).remember("key 1", 2)
    with pytest.raises(psycopg.OperationalError, match="remembers 100 keys"):
        context(job_id, attempt).remember("one more", 1)


def test_from_a_coroutine_it_is_called_in_a_thread(queue: Queue, new_worker: Any, context: MakeContext):
    worker = new_worker()
    job_id = enqueue("a", conn=queue)
    [(_, attempt)] = worker.claims(1)
    ctx = context(job_id, attempt)

    async def handler() -> Any:
        await asyncio.to_thread(ctx.remember, "k", 1)
        return await asyncio.to_thread(ctx.remembered, "k")

    assert asyncio.run(handler()) == 1


def test_a_claim_stays_until_what_is_remembered_under_it_is_committed(
    queue: Queue, new_worker: Any, database_url: str
) -> None:
    worker = new_worker()
    job_id = enqueue("a", conn=queue)
    worker.claims(1)
    with connect(database_url, application="handler") as handler:
        with handler.transaction():
            assert handler.execute("SELECT workerctl.remember(%s, 1, 'k', '1')", [job_id]).fetchone() == (True,)
            beside = Beside(lambda: release_worker(worker.connection, worker.incarnation, died=True))
            until_waiting(queue, 1)
        assert beside.end() == 1


def test_it_goes_with_retention_once_the_job_has_ended(queue: Queue, new_worker: Any, context: MakeContext):
    worker = new_worker()
    ids = [enqueue("a", conn=queue) for _ in range(2)]
    for job_id, attempt in worker.claims(2):
        context(job_id, attempt).remember("k", 1)
    worker.says(ended=[Ended(ids[0], 1, "succeeded")])
    queue.execute("UPDATE workerctl.memory SET remembered_at = now() - interval '40 days'")
    queue.execute(statement("drop_old"), {"keep": dt.timedelta(days=30), "keep_spend": dt.timedelta(days=30)})
    assert [job_memory(queue, job_id) for job_id in ids] == [{}, {"k": 1}]
