"""The worker's one connection to the queue: registered, lost, found again. Every wait is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from ..broker.connection import SLOW, TOO_LONG, Silence, connect, is_away
from ..broker.dial import DIAL_SECONDS
from ..broker.exchange import FIRST, Reply, Request, Resumed, exchange, resume
from ..broker.fleet import KnownKind, Registration, register_worker, release_worker
from ..broker.found import Database
from ..contract import Unreachable
from .journal import write_to_stderr

RECONNECT_LIMIT_SECONDS = 5.0
GIVEN_UP = "the fleet had given this worker up: others get its jobs, and it goes on as a new one\n"


class Rejected(Exception):
    """The database has understood this request and refuses it: some part cannot be stored, or the schema is broken."""


class Link:
    """Speaks for one worker. `up` says whether there is a connection; while there is none, `try_connect` is called."""

    def __init__(
        self, database: Database, registration: Registration, kinds: list[KnownKind], jitter: Callable[[], float]
    ) -> None:
        self._database = database
        self._registration = registration
        self._kinds = kinds
        self._jitter = jitter
        self._connection: psycopg.Connection[Any] | None = None
        self._worker_id: int | None = None
        self._session: int | None = None
        self.dialled = 0  # connections that there have been
        self._warm = False  # the server has planned this connection's statements
        self._failures = 0  # since the queue answered last
        self.retry_at = 0.0  # monotonic; not before this
        self.ask_at = float("inf")  # for its claims, behind a pooler: nobody hears of a server that is replaced there
        self.too_slow = False  # the last request was not done in time,
        self.waited_for_others = False  # because of a lock, or nobody knows why

    @property
    def up(self) -> bool:
        return self._connection is not None

    @property
    def serves(self) -> bool:
        """Whether the queue answered last; a connection alone says nothing where the schema is broken."""
        return self.up and self._failures == 0

    def fileno(self) -> int:
        """Of the connection there is."""
        assert self._connection is not None
        return self._connection.fileno()

    def try_connect(self, now: float) -> set[tuple[int, int]] | None:
        """Connect where it is time to; the claims that are this worker's, or None where there is no link yet.

        Where there is one, they are asked for anew.
        """
        if now < self.retry_at:
            return None
        try:
            if self._connection is None:
                self._connection = connect(
                    self._database.url,
                    application="worker",
                    pooled=self._database.pooled,
                    within_seconds=DIAL_SECONDS,
                )
                self.dialled += 1
                self._warm = False
            resumed = self._resume(self._connection)
        except (Unreachable, psycopg.Error) as error:
            self.lost(now, error)
            return None
        self._session = resumed.session
        if self._database.pooled:
            self.ask_at = now + self._registration.lease_seconds
        return resumed.claims

    def _resume(self, connection: psycopg.Connection[Any]) -> Resumed:
        if self._worker_id is not None:
            resumed = resume(connection, self._worker_id, self._registration.incarnation)
            if resumed.session is not None:
                return resumed
            write_to_stderr(GIVEN_UP)  # or its row was lost with a server: its id may be another's by now
        self._worker_id = register_worker(connection, self._registration, self._kinds)
        return FIRST  # nobody has spoken for this worker before

    def exchange(
        self,
        request: Request,
        now: float,
        ahead: Callable[[Reply], None] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Reply | None:
        """One round trip; None where nothing of it is known to have happened. Raises Rejected.

        `meanwhile` is called while the server works, `ahead` is given the reply while the server still commits.
        """
        assert self._connection is not None
        assert self._worker_id is not None
        request.session = self._session
        request.warm = request.want > 0 and not self._warm
        try:
            reply = exchange(self._connection, self._worker_id, request, ahead, meanwhile)
        except psycopg.Error as error:
            if not is_away(error):
                raise Rejected(str(error).strip().splitlines()[0]) from None
            self.too_slow = error.sqlstate in SLOW or isinstance(error, Silence)
            self.waited_for_others = error.sqlstate != TOO_LONG
            self.lost(now, error)
            return None
        self._failures = 0
        self.too_slow = False
        self._warm = self._warm or request.warm
        if reply.gone:
            write_to_stderr(GIVEN_UP)
            self._worker_id = None
            self._disconnect()
        return reply

    def leave(self) -> None:
        """Give back whatever is still held and forget this worker; without a link the agent will."""
        if self._connection is None:
            return
        try:
            release_worker(self._connection, self._registration.incarnation, died=False)
        except psycopg.Error as error:
            write_to_stderr(f"leaving without a word to the queue: {error}\n")
        self._disconnect()

    def lost(self, now: float, error: Exception) -> None:
        """The queue does not answer, or refuses whatever it is told: connect anew after a pause that grows."""
        if self._failures == 0:
            what = "the queue cannot be used" if isinstance(error, Rejected) else "database away"
            what = "the queue takes too long" if self.too_slow else what
            write_to_stderr(f"{what}: {str(error).strip().splitlines()[0]}\n")
        self._failures += 1
        pause = min(0.05 * 2 ** min(self._failures, 10), RECONNECT_LIMIT_SECONDS)
        self.retry_at = now + pause * (0.5 + 0.5 * self._jitter())
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
