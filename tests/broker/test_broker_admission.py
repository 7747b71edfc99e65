"""Admission: past a plan's or kind's number of pending root jobs an enqueue is refused at once."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import Any

import psycopg
import pytest
from broker_beside import Beside, until_waiting

from workerctl.broker.connection import connect
from workerctl.broker.exchange import Ended, FollowUp, Parent
from workerctl.broker.limits import configure_limits
from workerctl.handler import QueueFull, Refused
from workerctl.producer import enqueue, enqueue_async, enqueue_many

Queue = psycopg.Connection[Any]


def test_one_more_than_allowed_is_refused_with_how_long_to_wait(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 2, "b": 1})
    enqueue_many([{"kind": "a", "plan": "free"}, {"kind": "a", "plan": "free"}], conn=queue)
    with pytest.raises(QueueFull, match="plan:free is full: 2 of 2 are pending") as caught:
        enqueue("a", plan="free", conn=queue)
    assert caught.value.retry_after_seconds >= 1
    enqueue("a", plan="paid", conn=queue)
    enqueue("b", conn=queue)
    with pytest.raises(QueueFull, match="b is full"):
        enqueue("b", conn=queue)


def test_what_no_wait_would_help_is_refused_without_a_time_to_try_again(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 2, "b": 0})
    with pytest.raises(QueueFull, match=r"^b takes no jobs: its admission is 0$") as caught:
        enqueue("b", conn=queue)
    assert caught.value.retry_after_seconds == 3600
    with pytest.raises(QueueFull, match=r"^plan:free takes 2 pending jobs at most, and these are 3$"):
        enqueue_many([{"kind": "a", "plan": "free"}] * 3, conn=queue)
    enqueue_many([{"kind": "a", "plan": "free"}] * 2, conn=queue)
    with pytest.raises(QueueFull, match=r"^plan:free is full: 2 of 2 are pending; try again in \d+ s$"):
        enqueue("a", plan="free", conn=queue)
    with pytest.raises(psycopg.Error, match="its admission is 0") as raised:
        queue.execute("SELECT workerctl.enqueue('b')")
    assert raised.value.sqlstate == "WQ001"


def test_where_all_that_are_pending_are_for_later_the_wait_is_until_the_first_may_begin(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 2})
    for minutes in (20, 10):
        run_at = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
        enqueue("a", plan="free", run_at=run_at, conn=queue)
    with pytest.raises(QueueFull) as caught:
        enqueue("a", plan="free", conn=queue)
    assert 590 <= caught.value.retry_after_seconds <= 600


def test_a_claimed_job_makes_room(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 1})
    enqueue("a", plan="free", conn=queue)
    new_worker().claims(1)
    enqueue("a", plan="free", conn=queue)


def test_many_at_once_are_all_in_or_all_out(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 3})
    with pytest.raises(QueueFull):
        enqueue_many([{"kind": "a", "plan": "free"}] * 4, conn=queue)
    assert len(enqueue_many([{"kind": "a", "plan": "free"}] * 3, conn=queue)) == 3


def test_more_than_a_round_trip_that_meets_the_bound_in_its_midst_says_which_are_in(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 1200})
    jobs = [{"kind": "a", "plan": "free"}] * 1500
    with pytest.raises(QueueFull, match=r"; the first 1000 of these jobs are in$") as caught:
        enqueue_many(jobs, conn=queue)
    found = queue.execute("SELECT array_agg(id ORDER BY id) FROM workerctl.live").fetchone()
    assert found == (caught.value.put_in,)
    with pytest.raises(QueueFull, match=r"try again in 1 s$") as caught, queue.transaction():
        enqueue_many([{"kind": "a"}] * 1000 + jobs[:201], conn=queue)
    assert caught.value.put_in == (), "the transaction took the first thousand with it"


def test_a_unique_key_that_is_there_already_needs_no_room(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 1})
    first = enqueue("a", plan="free", unique_key="k", conn=queue)
    assert enqueue("a", plan="free", unique_key="k", conn=queue) == first


@pytest.mark.parametrize("pending", [0, 1])
def test_a_job_whose_unique_key_is_given_up_meanwhile_is_counted(
    queue: Queue, new_worker: Any, database_url: str, pending: int
) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 1})
    first = enqueue("a", plan="free", unique_key="k", conn=queue)
    worker = new_worker()
    assert worker.claims(1) == [(first, 1)]
    enqueue_many([{"kind": "a", "plan": "free"}] * pending, conn=queue)
    answers: list[Any] = []

    def produce() -> None:
        with connect(database_url, application="test") as connection:
            try:
                answers.append(enqueue("a", plan="free", unique_key="k", conn=connection))
            except QueueFull as error:
                answers.append(str(error))

    thread = threading.Thread(target=produce)
    with worker.connection.transaction():
        worker.says(ended=[Ended(first, 1, "succeeded")])
        thread.start()
        with connect(database_url, application="test") as witness:
            while witness.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)").fetchone() != (True,):
                assert thread.is_alive(), "it is put in before it is known whether its key is free"
    thread.join()
    assert queue.execute("SELECT count(*) FROM workerctl.live").fetchone() == (1,)
    assert (first in answers) is False
    assert ("plan:free is full: 1 of 1 are pending" in str(answers[0])) == bool(pending)


def test_a_kind_stands_for_all_before_whose_dot_it_stands(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"image": 2, "image.big": 1})
    enqueue("image.big", conn=queue)
    with pytest.raises(QueueFull, match=r"image\.big is full: 1 of 1"):
        enqueue("image.big", conn=queue)
    enqueue("image.small", conn=queue)
    with pytest.raises(QueueFull, match="image is full: 2 of 2"):
        enqueue("image.small", conn=queue)


def test_children_and_follow_ups_are_never_refused(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 1})
    job_id = enqueue("a", plan="free", conn=queue)
    worker = new_worker()
    worker.claims(1)
    child = {"kind": "b", "plan": "free"}
    reply = worker.says(parents=[Parent(job_id, 1, [child] * 5)], follow_ups=[FollowUp(job_id, child)] * 3)
    assert reply.lost is None
    assert len(worker.claims(20)) == 8


def test_it_is_exact_when_many_enqueue_at_once(queue: Queue, database_url: str) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 10})
    refused: list[QueueFull] = []

    def produce() -> None:
        with connect(database_url, application="test") as connection:
            for _ in range(5):
                try:
                    enqueue("a", plan="free", conn=connection)
                except QueueFull as error:
                    refused.append(error)

    threads = [threading.Thread(target=produce) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 20
    assert queue.execute("SELECT count(*) FROM workerctl.live").fetchone() == (10,)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_that_does_not_see_what_others_enqueue_is_refused_where_it_would_have_to_count(
    queue: Queue, database_url: str, level: str
) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 1})
    enqueue("a", plan="paid", conn=queue)
    with connect(database_url, application="test") as producer:
        producer.execute(f"BEGIN ISOLATION LEVEL {level}")
        assert enqueue("a", plan="paid", conn=producer), "where nothing is counted any will do"
        enqueue("a", plan="free", conn=queue)
        with pytest.raises(Refused, match=f"plan:free .* in a {level.lower()} transaction.*READ COMM"):
            enqueue("a", plan="free", conn=producer)
        producer.execute("ROLLBACK")
    assert queue.execute("SELECT count(*) FROM workerctl.live").fetchone() == (2,)


def test_behind_a_producer_that_does_not_commit_it_is_refused_with_how_long_to_wait(
    queue: Queue, database_url: str
) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 9})
    enqueue("a", plan="paid", conn=queue)
    with connect(database_url, application="test") as producer, producer.transaction():
        enqueue("a", plan="free", conn=producer)
        with pytest.raises(QueueFull, match=r"plan:free cannot be counted: a transaction .* open") as caught:
            enqueue("a", plan="free", conn=queue)
        assert caught.value.retry_after_seconds == 1
        enqueue("a", plan="paid", conn=queue)
    enqueue("a", plan="free", conn=queue)


def test_other_languages_see_a_sqlstate_of_ours(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 0})
    with pytest.raises(psycopg.Error) as caught:
        queue.execute("SELECT workerctl.enqueue('a', '{}', plan => 'free')")
    assert caught.value.sqlstate == "WQ001"
    assert "retry_after_seconds" in (caught.value.diag.message_detail or "")


def test_the_async_client_is_refused_alike(queue: Queue, database_url: str) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 0})

    async def produce() -> None:
        async with await psycopg.AsyncConnection.connect(database_url) as connection:
            await enqueue_async("a", plan="free", conn=connection)

    with pytest.raises(QueueFull):
        asyncio.run(produce())


def test_what_is_no_longer_configured_is_no_longer_refused(queue: Queue) -> None:
    configure_limits(queue, {}, {}, {"plan:free": 0})
    configure_limits(queue, {}, {}, {})
    enqueue("a", plan="free", conn=queue)


def test_a_unique_key_whose_job_ends_while_it_is_enqueued_needs_room_again(
    queue: Queue, database_url: str, new_worker: Any
) -> None:
    configure_limits(queue, {}, {}, {"a": 1})
    ending = enqueue("a", unique_key="k", conn=queue)
    worker = new_worker()
    worker.claims(1)
    enqueue("a", conn=queue)
    with connect(database_url, application="producer") as producer:
        with worker.connection.transaction():
            worker.says(ended=[Ended(ending, 1)])
            beside = Beside(lambda: enqueue("a", unique_key="k", conn=producer))
            until_waiting(queue, 1)
        with pytest.raises(QueueFull, match="a is full: 1 of 1 are pending"):
            beside.end()
        worker.claims(1)
        assert enqueue("a", unique_key="k", conn=producer) == enqueue("a", unique_key="k", conn=producer)
