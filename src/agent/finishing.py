"""Applies `post` migrations beside the agent's loop: a slow one must not cost the agent its leases."""

from __future__ import annotations

import sys
import threading
from importlib.resources.abc import Traversable

import psycopg

from ..broker.connection import connect
from ..broker.migrate import finish_migrations
from ..contract import WorkerctlError


def finish_in_background(url: str, folder: Traversable | None = None) -> threading.Thread:
    """A thread that applies what no older node or worker keeps waiting, says so, and ends; a failure is only said."""
    thread = threading.Thread(target=_finish, args=(url, folder), name="post migrations", daemon=True)
    thread.start()
    return thread


def _finish(url: str, folder: Traversable | None) -> None:
    try:
        with connect(url, application="migrations", bounded=False) as connection:
            for name in finish_migrations(connection, folder):
                sys.stdout.write(f"applied {name}: no older version lives\n")
                sys.stdout.flush()
    except (WorkerctlError, psycopg.Error) as error:
        sys.stderr.write(f"post migrations: {str(error).strip().splitlines()[0]}\n")
        sys.stderr.flush()
