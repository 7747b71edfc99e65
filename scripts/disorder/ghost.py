"""A worker that lies: it hands its jobs back and, later, settles them all the same. Nothing of that may count."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import deque
from typing import Any

import msgspec
import psycopg

from workerctl.broker.exchange import Again, Ended, FollowUp, Request, exchange
from workerctl.broker.fleet import KnownKind, Registration, register_worker

KINDS = ("quick", "thread", "owned", "limited", "follow")
BEAT_SECONDS = 0.3
LATE_SECONDS = (0.1, 4.0)
LEASE_SECONDS = 16.0
RESULT = msgspec.Raw(b'"of a ghost"')


class Ghost:
    """Claims in a thread of its own. `said` late settlements; `heard` are those that were not refused: none."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._chance = random.Random(seed)
        self._over = threading.Event()
        self._claims: deque[tuple[float, int, int]] = deque()  # due, job, attempt
        self._names = 0
        self.said = 0
        self.heard: list[str] = []
        self._thread = threading.Thread(target=self._haunt, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join(timeout=15)

    def _haunt(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(psycopg.Error), psycopg.connect(self._url, autocommit=True) as connection:
                worker = self._register(connection)
                while not self._over.wait(BEAT_SECONDS):
                    if not self._speak(connection, worker):
                        worker = self._register(connection)
                connection.execute("SELECT workerctl.release_workers(%s, died => false)", [[worker]])
            self._over.wait(BEAT_SECONDS)

    def _register(self, connection: psycopg.Connection[Any]) -> int:
        self._names += 1
        me = Registration(f"ghost.{self._names}", "ghost", "ghost", "default", self._names, 0, None, [], LEASE_SECONDS)
        kinds = [KnownKind(kind, "default", 3, 1) for kind in KINDS]
        return register_worker(connection, me, kinds)

    def _speak(self, connection: psycopg.Connection[Any], worker: int) -> bool:
        """Claim, hand back, remember; settle what was handed back a while ago. False where it is given up."""
        late = self._due()
        ended = [Ended(job, attempt, "succeeded", RESULT) for job, attempt in late if self._chance.random() < 0.7]
        again = [Again(job, attempt, True, 60.0) for job, attempt in late if job not in {end.id for end in ended}]
        follow = [FollowUp(end.id, {"kind": "echo", "payload": {"of": end.id}}) for end in ended]
        request = Request(want=2, renew_seconds=LEASE_SECONDS, ended=ended, again=again, follow_ups=follow)
        reply = exchange(connection, worker, request)
        if reply.gone:
            return False
        self.said += len(late)
        self.heard += [f"{job} attempt {attempt}" for job, attempt in late if job not in (reply.lost or [])]
        claimed = [(job.id, job.attempt) for job in reply.claimed or []]
        now = time.monotonic()
        self._claims.extend((now + self._chance.uniform(*LATE_SECONDS), job, attempt) for job, attempt in claimed)
        back = exchange(connection, worker, Request(again=[Again(job, attempt) for job, attempt in claimed]))
        return not back.gone

    def _due(self) -> list[tuple[int, int]]:
        now = time.monotonic()
        due = [(job, attempt) for at, job, attempt in self._claims if at <= now]
        self._claims = deque(claim for claim in self._claims if claim[0] > now)
        return list(dict(due).items())
