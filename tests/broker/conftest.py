"""A migrated database, and workers that are nothing but a row and what the test makes them say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from workerctl.broker.connection import connect
from workerctl.broker.exchange import Reply, Request, exchange
from workerctl.broker.fleet import KnownKind, Registration, register_worker

KINDS = ("a", "b")


@dataclass(frozen=True)
class Worker:
    """A worker's side of the queue, driven by hand."""

    connection: psycopg.Connection[Any]
    id: int
    incarnation: str

    def says(self, **request: Any) -> Reply:
        return exchange(self.connection, self.id, Request(**request))

    def claims(self, want: int) -> list[tuple[int, int]]:
        return [(job.id, job.attempt) for job in self.says(want=want).claimed or []]


@pytest.fixture
def new_worker(queue: psycopg.Connection[Any], database_url: str) -> Iterator[Callable[..., Worker]]:
    """Registers workers, each with a connection of its own."""
    numbers = itertools.count(1)
    connections = []

    def make(
        kinds: tuple[str, ...] = KINDS,
        *,
        queues: list[str] | None = None,
        node: str = "n1",
        lease: float = 30,
        batch: int = 1,
        batch_wait: float = 0.0,
        seats: int = 1,
    ) -> Worker:
        connection = connect(database_url, application="test worker")
        connections.append(connection)
        number = next(numbers)
        known = [KnownKind(kind, "default", 3, batch, batch_wait) for kind in kinds]
        registration = Registration(
            f"{node}.{number}", node, "host", "default", number, 1, queues, [], lease, seats=seats
        )
        return Worker(connection, register_worker(connection, registration, known), registration.incarnation)

    yield make
    for connection in connections:
        connection.close()
