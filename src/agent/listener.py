"""The agent's ear: one connection that LISTENs, and a way to know that it still hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from ..broker.connection import connect
from ..broker.dial import DIAL_SECONDS

CHANNEL = "workerctl"


class Listener:
    """Hears the queue's doorbell. Raises Unreachable and psycopg.OperationalError as connections do."""

    def __init__(self, url: str, on_ring: Callable[[], None]) -> None:
        self._rung = False
        self._on_ring = on_ring
        self._connection: psycopg.Connection[Any] = connect(
            url, application="agent listener", within_seconds=DIAL_SECONDS
        )
        self._connection.add_notify_handler(self._note)  # what arrives while a statement of ours runs
        self._connection.execute(f"LISTEN {CHANNEL}")

    def fileno(self) -> int:
        return self._connection.fileno()

    def heard(self) -> bool:
        """Whether it rang since the last call; never waits. (psycopg's own `notifies` takes 0.1 ms more.)"""
        self._rung = self._read() or self._rung
        rung, self._rung = self._rung, False
        return rung

    def attend(self) -> None:
        """Pass a ring on while its owner waits for another answer; `heard` will say so, too."""
        if self._read():
            self._rung = True
            self._on_ring()

    def _read(self) -> bool:
        rung = False
        self._connection.pgconn.consume_input()
        while self._connection.pgconn.notifies() is not None:
            rung = True
        return rung

    def ring(self) -> None:
        """Ring ourselves: a listener that does not hear this is deaf (a pooler, a lost connection)."""
        self._connection.execute("SELECT pg_notify(%s, 'self')", [CHANNEL])

    def _note(self, _: psycopg.Notify) -> None:
        self._rung = True

    def close(self) -> None:
        self._connection.close()
