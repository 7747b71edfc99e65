"""Enqueues jobs of every kind at a steady pace while the database comes and goes; remembers what was acknowledged."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import Any

import psycopg

from workerctl import enqueue_many

CHUNK_JOBS = 20
CONNECT_SECONDS = 3
Spec = dict[str, Any]


class Producer:
    """Enqueues in a thread of its own until there are `jobs`, spread over `seconds`. Its jobs come from the seed."""

    def __init__(self, url: str, jobs: int, seconds: float, seed: int) -> None:
        self._url = url
        self._specs = specs(random.Random(seed), jobs)
        self._pause_seconds = seconds * CHUNK_JOBS / jobs
        self.acknowledged: list[int] = []
        self._thread = threading.Thread(target=self._produce, daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    @property
    def has_all(self) -> bool:
        return len(self.acknowledged) >= len(self._specs)

    def _produce(self) -> None:
        at, due = 0, time.monotonic()
        while at < len(self._specs):
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS) as connection,
            ):
                while at < len(self._specs):
                    chunk = self._specs[at : at + CHUNK_JOBS]
                    self.acknowledged += enqueue_many(chunk, conn=connection)
                    at += CHUNK_JOBS
                    due += self._pause_seconds
                    time.sleep(max(0.0, due - time.monotonic()))
            time.sleep(0.1)


def specs(chance: random.Random, count: int) -> list[Spec]:
    """Jobs of all kinds; a batch counts as its children too, so that there are about `count` in the end."""
    found: list[Spec] = []
    made = 0
    while made < count:
        kind = chance.choices(("quick", "thread", "stumble", "snooze", "follow", "batch", "limited", "owned", "store"),
                              (34, 8, 10, 8, 10, 2, 8, 14, 6))[0]  # fmt: skip
        seconds = chance.choice((0, 0.05, 0.2, 1.0))
        payload: dict[str, Any] = {"seconds": seconds}
        options: dict[str, Any] = {}
        if kind == "batch":
            payload = {"children": chance.randint(1, 12)}
            made += payload["children"] + 1
        elif kind == "owned":
            options = {"user_id": f"u{chance.randrange(6)}"}
        found.append({"kind": kind, "payload": payload, **options})
        made += 2 if kind == "follow" else 1
    return found
