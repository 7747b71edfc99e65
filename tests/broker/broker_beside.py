"""What sessions do beside each other: in threads, and until they wait for each other's locks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg


class Beside:
    """Calls something in a thread; `end` gives what came of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._outcome: Any = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self._outcome = function()
        except Exception as error:
            self._outcome = error

    def end(self) -> Any:
        self._thread.join(10)
        assert not self._thread.is_alive(), "it still waits"
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def until_waiting(queue: psycopg.Connection[Any], sessions: int) -> None:
    """Until so many sessions of this database wait for a lock."""
    deadline = time.monotonic() + 10
    question = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while queue.execute(question).fetchone() != (sessions,):
        assert time.monotonic() < deadline, f"not {sessions} sessions wait for a lock"
        time.sleep(0.005)
