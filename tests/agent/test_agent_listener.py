"""The agent's ear on a real database: it hears others, and itself."""

from __future__ import annotations

import select
from collections.abc import Iterator

import psycopg
import pytest

from workerctl.agent.listener import CHANNEL, Listener


@pytest.fixture
def listener(postgres_url: str) -> Iterator[Listener]:
    ear = Listener(postgres_url)
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
