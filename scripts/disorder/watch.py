"""Looks at the rows every 5 ms while everything breaks: limits, seats, and rows that are in two places."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from typing import Any

import psycopg
from disorder.homes import KIND_LIMIT, USER_LIMIT

PERIOD_SECONDS = 0.005
DOUBLES_EVERY = 200  # samples: these looks are dearer
RUNNING = """
SELECT coalesce(k.key, a.kind), count(*), count(*) FILTER (WHERE s.job_id IS NULL), array_agg(l.id)
  FROM workerctl.live l
  JOIN workerctl.lane a ON a.id = l.lane_id
 CROSS JOIN LATERAL (SELECT unnest(l.limit_keys) AS key UNION ALL SELECT NULL WHERE a.kind = 'limited') k
  LEFT JOIN workerctl.seat s ON s.job_id = l.id AND s.key = coalesce(k.key, a.kind)
 WHERE l.worker_id IS NOT NULL
 GROUP BY 1
"""
DOUBLES = """
SELECT l.id FROM workerctl.live l WHERE EXISTS (SELECT FROM workerctl.history h WHERE h.id = l.id)
"""
UNSOUND = "SELECT rule, array_agg(id) FROM workerctl.unsound GROUP BY rule"


class Watch:
    """Samples in a thread of its own until `end`; `broken` says what was seen."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.samples = 0
        self.highest: Counter[str] = Counter()
        self._seen: dict[str, tuple[int, str]] = {}  # what is broken: how often it was seen, and how it was first
        self._thread.start()

    @property
    def broken(self) -> list[str]:
        return [f"{name}, in {count} samples, first: {first}" for name, (count, first) in self._seen.items()]

    def end(self) -> None:
        self._over.set()
        self._thread.join(timeout=10)

    def _watch(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(psycopg.Error), self._connect() as connection:
                while not self._over.is_set():
                    since = time.monotonic()
                    self._sample(connection)
                    self._over.wait(max(0.0, PERIOD_SECONDS - (time.monotonic() - since)))
            self._over.wait(0.1)

    def _connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(self._url, autocommit=True, connect_timeout=2)
        connection.prepare_threshold = 0
        return connection

    def _sample(self, connection: psycopg.Connection[Any]) -> None:
        self.samples += 1
        for key, running, unseated, ids in connection.execute(RUNNING).fetchall():
            name, most = ("limited", KIND_LIMIT) if key == "limited" else ("user", USER_LIMIT)
            self.highest[name] = max(self.highest[name], running)
            if running > most:
                self._break(f"more than {most} run under {key}", ids)
            if unseated:
                self._break(f"some run under {key} without a seat", ids)
        if self.samples % DOUBLES_EVERY == 0:
            doubled = [job_id for (job_id,) in connection.execute(DOUBLES).fetchall()]
            if doubled:
                self._break("in live and in history at once", doubled)
            for rule, ids in connection.execute(UNSOUND).fetchall():
                self._break(f"live rows break the rule '{rule}'", ids)

    def _break(self, name: str, ids: list[int]) -> None:
        count, first = self._seen.get(name, (0, f"jobs {ids}"))
        self._seen[name] = (count + 1, first)
