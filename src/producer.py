"""The enqueue clients: for a program that is no worker, inside its own transaction or on a connection kept for it."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import select
import threading
from collections.abc import Iterable
from typing import Any

import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from .broker.connection import UNSTORABLE, connect, is_away, statement, unreachable
from .broker.found import Database, find_database
from .handler import QueueFull, Refused, job_spec, job_texts

Spec = dict[str, Any]

ROUND_TRIP_JOBS = 1000
QUEUE_FULL_SQLSTATE = "WQ001"
UNCOUNTABLE_SQLSTATE = "WQ004"  # admission, in a transaction that does not see what others do
PAYLOAD_REFUSALS = {  # what this process does not see at a glance
    "payload_at_most_1_mib": "a payload is over 1 MiB; put it into storage and pass its key",
    "payload_at_most_500_deep": "a payload is nested over 500 deep",
}


def enqueue(
    kind: str,
    payload: Any = None,
    *,
    queue: str | None = None,
    priority: int = 0,
    run_at: dt.datetime | str | None = None,
    unique_key: str | None = None,
    user_id: str | None = None,
    plan: str | None = None,
    max_attempts: int | None = None,
    conn: psycopg.Connection[Any] | None = None,
) -> int:
    """Put one job in and return its id; with `conn` inside the caller's own transaction.

    `queue` and `max_attempts` default to what the kind's handler declared. A `unique_key` that an unfinished job
    holds returns that job's id. Without `conn` the database is the one that `workerctl` in this folder uses.
    Raises InvalidPayload, Refused, QueueFull (with `retry_after_seconds`), NotRunning (no database is known),
    Unreachable.
    """
    options = {"queue": queue, "priority": priority, "run_at": run_at, "unique_key": unique_key,
               "user_id": user_id, "plan": plan, "max_attempts": max_attempts}  # fmt: skip
    return _insert(msgspec.json.encode([job_spec(kind, payload, **options)]), conn)[0]


def enqueue_many(jobs: Iterable[tuple[str, Any] | Spec], *, conn: psycopg.Connection[Any] | None = None) -> list[int]:
    """Put many jobs in, 1,000 a round trip, and return their ids in order.

    A job is `(kind, payload)` or a mapping with `kind`, `payload` and the options of `enqueue`. Each round
    trip is one transaction, unless `conn` brings its own: what a later one raises as Refused or QueueFull has as
    `put_in` the ids of those before it.
    """
    ids: list[int] = []
    for text in list(job_texts(jobs, ROUND_TRIP_JOBS)):  # before any is put in, all are looked at
        try:
            ids += _insert(text, conn)
        except Refused as error:
            if ids and (conn is None or conn.info.transaction_status is TransactionStatus.IDLE):
                error.args = (f"{error}; the first {len(ids)} of these jobs are in",)
                error.put_in = ids
            raise
    return ids


async def enqueue_async(
    kind: str, payload: Any = None, *, conn: psycopg.AsyncConnection[Any] | None = None, **options: Any
) -> int:
    """`enqueue` for asyncio: in the caller's transaction with an async `conn`, else in a thread."""
    if conn is None:
        return await asyncio.to_thread(enqueue, kind, payload, **options)
    _check_connection(conn, psycopg.AsyncConnection)
    text = msgspec.json.encode([job_spec(kind, payload, **options)]).decode()
    try:
        cursor = await conn.cursor(row_factory=tuple_row).execute(statement("enqueue_many"), [text])
        row = await cursor.fetchone()
    except psycopg.Error as error:
        raise _refusal(error) from None
    assert row is not None
    return int(row[0][0])


def _insert(text: bytes, conn: psycopg.Connection[Any] | None) -> list[int]:
    try:
        row = _shared.execute(text.decode()) if conn is None else _execute(conn, text.decode())
    except psycopg.Error as error:
        raise _refusal(error) from None
    assert row is not None
    return list(row[0])


def _execute(conn: psycopg.Connection[Any], text: str) -> tuple[Any, ...] | None:
    _check_connection(conn, psycopg.Connection)
    return conn.cursor(row_factory=tuple_row).execute(statement("enqueue_many"), [text]).fetchone()


def _check_connection(conn: Any, kind: type[Any]) -> None:
    if not isinstance(conn, kind):
        raise TypeError(
            f"conn= is a psycopg.{kind.__name__}, not {type(conn).__name__}; of a connection of SQLAlchemy's over "
            "psycopg it is `connection.connection.driver_connection`"
        )


def _refusal(error: psycopg.Error) -> Exception:
    """What the queue's own refusals mean; any other error is itself."""
    words = str(error).strip().splitlines()[0]
    if error.sqlstate == QUEUE_FULL_SQLSTATE:
        details = msgspec.json.decode(error.diag.message_detail or "{}")
        return QueueFull(words, float(details.get("retry_after_seconds", 1)))
    if error.sqlstate == UNCOUNTABLE_SQLSTATE:
        return Refused(f"{words}; {error.diag.message_hint}")
    if error.diag.constraint_name in PAYLOAD_REFUSALS:
        return Refused(PAYLOAD_REFUSALS[error.diag.constraint_name])
    if isinstance(error, UNSTORABLE):
        return Refused(f"refused by the queue: {words}")
    return error


class _SharedConnection:
    """One connection of this process for all its producers; made anew after a fork or a loss."""

    def __init__(self) -> None:
        self._held: tuple[psycopg.Connection[Any], Database] | None = None
        self._owner_pid = 0
        self._renew_lock()
        os.register_at_fork(after_in_child=self._renew_lock)  # another thread may have held it

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    def execute(self, text: str) -> tuple[Any, ...] | None:
        """Raises Unreachable; where the connection broke in the middle, the jobs may or may not be in."""
        with self._lock:
            connection, database = self._connected()
            try:
                return connection.execute(statement("enqueue_many"), [text]).fetchone()
            except psycopg.Error as error:
                if not is_away(error):
                    raise
                connection.close()
                raise unreachable(database.url, error) from None

    def _connected(self) -> tuple[psycopg.Connection[Any], Database]:
        if self._held is None or self._owner_pid != os.getpid() or _server_has_spoken(self._held[0]):
            database = find_database()
            connection = connect(database.url, application="producer", pooled=database.pooled)
            self._held, self._owner_pid = (connection, database), os.getpid()
        return self._held


def _server_has_spoken(connection: psycopg.Connection[Any]) -> bool:
    """An idle session hears nothing from its server but the end of it."""
    if connection.closed:
        return True
    poll = select.poll()  # `select` takes no descriptor above 1,023, as a web server with many clients has
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


_shared = _SharedConnection()
