"""Walks a worker's way to the queue once before the first fork, so that workers share what it brings into memory.

Measured: libpq's TLS and SCRAM set-up, the statements' texts and the first exchange make about 7 MB private in each
worker otherwise, and every start of one slower. Nothing of it stays: the transaction is rolled back, the connection
closed before anything is forked.
"""

from __future__ import annotations

import contextlib
import os
import sys

import psycopg

from ..broker.connection import connect
from ..broker.exchange import Request, exchange, resume
from ..broker.fleet import register_worker
from ..broker.migrate import pending
from ..broker.surroundings import Surroundings
from ..contract import WorkerctlError
from .identity import Identity, known_kinds, registration
from .sharing import settle

_done = _has_worked = False


def rehearse(around: Surroundings, *, last: bool = True) -> bool:
    """Once a process; again where it did not work and was not the `last` chance: then workers make do without.

    Whether it has worked: then the schema is as this code wants it.
    """
    global _done, _has_worked
    if _done:
        return _has_worked
    with contextlib.suppress(AttributeError):  # deprecated since 3.13
        sys._clear_type_cache()  # else a worker's look-ups push out what imports looked up, and write to its pages
    with contextlib.suppress(WorkerctlError, psycopg.Error):
        _has_worked = _play(around)
    _done = _has_worked or last
    if _done:
        settle()
    return _has_worked


def _play(around: Surroundings) -> bool:
    """False where migrations are due."""
    pool = next(iter(around.settings.pools))
    me = Identity(serial=0, incarnation=f"rehearsal of {around.node_id} {os.getpid()}", pool=pool, slot=0, cores=None)
    with (
        connect(around.database.url, application="template", pooled=around.database.pooled) as connection,
        connection.transaction(force_rollback=True),
    ):
        if any(migration.phase == "pre" for migration in pending(connection)):
            return False
        worker_id = register_worker(
            connection, registration(me, around), known_kinds(around.settings.jobs.max_attempts)
        )
        resume(connection, worker_id, me.incarnation)
        exchange(connection, worker_id, Request(renew_seconds=around.settings.jobs.lease_seconds))
    return True
