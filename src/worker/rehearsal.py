"""Walks a worker's way to the queue once before the first fork, so that workers share what it brings into memory.

Measured: libpq's TLS and SCRAM set-up and the first exchange make about 5 MB private in each worker otherwise. The
connection is closed again before anything is forked.
"""

from __future__ import annotations

import contextlib
import gc

import psycopg

from ..broker.connection import connect
from ..broker.exchange import Request, exchange
from ..broker.surroundings import Surroundings
from ..contract import Unreachable

NOBODY = 0  # no worker has this id: the exchange says so and changes nothing

_done = False


def rehearse(around: Surroundings) -> None:
    """Once a process. Where the database does not answer, workers make do without."""
    global _done
    if _done:
        return
    _done = True
    database = around.database
    with (
        contextlib.suppress(Unreachable, psycopg.Error),
        connect(database.url, application="template", pooled=database.pooled) as connection,
    ):
        exchange(connection, NOBODY, Request())
    gc.collect()
    gc.freeze()
