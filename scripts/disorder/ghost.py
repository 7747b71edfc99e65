"""A worker that lies: it hands its jobs back and settles them all the same, later or once it has them again; and it
remembers for them what it is told not to. Nothing of that may count.
"""

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
REMEMBER = "SELECT workerctl.remember(%s::bigint, %s::integer, 'a ghost', '1')"
Claim = tuple[int, int]  # job, attempt
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
        """Settle what was handed back a while ago and claim; hand that back and claim it anew; settle it by its earlier
        attempt, and hand it back. False where it is given up.
        """
        claimed = self._settle(connection, worker, self._due(), want=2)
        if claimed is None:
            return False
        again = [Again(job, attempt, keeps_place=True) for job, attempt in claimed]
        anew = exchange(connection, worker, Request(want=len(again), again=again))
        if anew.gone:
            return False
        now = time.monotonic()
        self._claims.extend((now + self._chance.uniform(*LATE_SECONDS), job, attempt) for job, attempt in claimed)
        held = {job.id: job.attempt for job in anew.claimed or []}
        if self._settle(connection, worker, [claim for claim in claimed if claim[0] in held]) is None:
            return False
        return not exchange(connection, worker, Request(again=[Again(*claim) for claim in held.items()])).gone

    def _settle(
        self, connection: psycopg.Connection[Any], worker: int, claims: list[Claim], want: int = 0
    ) -> list[Claim] | None:
        """Say that these have ended, or failed, and note what counts; what is claimed. None where it is given up."""
        kept = [claim for claim in claims if connection.execute(REMEMBER, claim).fetchone() != (False,)]
        self.heard += [f"{job} attempt {attempt} remembered" for job, attempt in kept]
        ended = [Ended(job, attempt, "succeeded", self._chance.choice((None, RESULT)))
                 for job, attempt in claims if self._chance.random() < 0.7]  # fmt: skip
        again = [Again(job, attempt, True, 60.0) for job, attempt in claims if job not in {end.id for end in ended}]
        follow = [FollowUp(end.id, {"kind": "echo", "payload": {"of": end.id}}) for end in ended]
        reply = exchange(
            connection, worker,
            Request(want=want, renew_seconds=LEASE_SECONDS, ended=ended, again=again, follow_ups=follow),
        )  # fmt: skip
        if reply.gone:
            return None
        self.said += len(claims)
        self.heard += [f"{job} attempt {attempt}" for job, attempt in claims if job not in (reply.lost or [])]
        return [(job.id, job.attempt) for job in reply.claimed or []]

    def _due(self) -> list[Claim]:
        now = time.monotonic()
        due = [(job, attempt) for at, job, attempt in self._claims if at <= now]
        self._claims = deque(claim for claim in self._claims if claim[0] > now)
        return list(dict(due).items())
