"""The agent's ear on a real database: it hears others, and itself."""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from workerctl.agent.listener import CHANNEL, Listener
from workerctl.broker.connection import attend, connect

DEADLINE_SECONDS = 10.0


@pytest.fixture
def listener(postgres_url: str) -> Iterator[Listener]:
    ear = Listener(postgres_url, lambda: None)
    yield ear
    ear.close()


def test_it_hears_its_own_ring_though_the_answer_to_its_statement_brought_it(listener: Listener) -> None:
    assert not listener.heard()
    listener.ring()
    assert listener.heard(), "an idle agent would think itself deaf, and connect anew every 35 s"
    assert not listener.heard()


def test_it_hears_others(listener: Listener, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    assert select.select([listener], [], [], 10)[0]
    assert listener.heard()
    assert not listener.heard()


def test_a_ring_is_passed_on_while_a_statement_of_its_owner_takes_long(postgres_url: str) -> None:
    """Else every job would wait for what the primary does: the upkeep of a large queue takes seconds."""
    order: list[str] = []
    with (
        contextlib.closing(Listener(postgres_url, lambda: order.append("ring"))) as ear,
        connect(postgres_url, application="test") as owner,
        psycopg.connect(postgres_url, autocommit=True) as other,
    ):
        attend(owner, ear)

        def take_long() -> None:
            owner.execute("SELECT pg_advisory_lock(4711)")
            order.append("answer")

        other.execute("SELECT pg_advisory_lock(4711)")
        statement = threading.Thread(target=take_long)
        statement.start()
        until(lambda: waits_for_the_lock(other))
        other.execute("SELECT pg_notify(%s, '')", [CHANNEL])
        until(lambda: bool(order))
        other.execute("SELECT pg_advisory_unlock(4711)")
        statement.join(DEADLINE_SECONDS)
        assert order == ["ring", "answer"]
        assert ear.heard(), "the agent looks again a moment after"
        assert not ear.heard()


def waits_for_the_lock(connection: psycopg.Connection[tuple[bool]]) -> bool:
    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted)"
    return connection.execute(waiting).fetchone() == (True,)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
