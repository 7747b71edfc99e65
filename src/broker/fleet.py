"""What agents and workers say about themselves: registration, give-back, leases, the primary and its ticks."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg

from .. import __version__
from ..contract import Unusable
from .connection import statement
from .migrate import newest
from .surroundings import Surroundings

Connection = psycopg.Connection[Any]

UNUSABLE_SQLSTATES = frozenset({"WQ002", "WQ004"})  # the schema has moved on past this code; limits would not hold
NODE_TAKEN_SQLSTATE = "WQ003"  # another living home has this node's id


class NodeTaken(Unusable):
    """Another living home has this node's id: one is a copy of the other. `renewed_at` is when it said so last."""

    def __init__(self, message: str, renewed_at: str) -> None:
        super().__init__(f"{message}: one is a copy of the other; remove node.json from the copy and start it again")
        self.renewed_at = renewed_at


@dataclass(frozen=True, slots=True)
class Registration:
    """A worker process as the database knows it. `queues` None: every queue but the excluded."""

    incarnation: str
    node_id: str
    host: str
    pool: str
    slot: int
    pid: int
    queues: list[str] | None
    excluded_queues: list[str]
    lease_seconds: float
    schema: int = field(default_factory=newest)  # the last migration that its code knows
    seats: int = 1  # jobs that it runs at once


@dataclass(frozen=True, slots=True)
class KnownKind:
    """A kind that a worker can run, as producers in any language need it."""

    name: str
    queue: str
    max_attempts: int
    batch: int
    batch_wait_seconds: float = 0.0


def register_worker(connection: Connection, worker: Registration, kinds: list[KnownKind]) -> int:
    """Make a worker known and start its lease; returns its id, which fences its claims.

    Raises Unusable where the schema has left this version behind.
    """
    values = {"worker": msgspec.json.encode(worker).decode(), "kinds": msgspec.json.encode(kinds).decode()}
    return int(_one(connection, "register_worker", values))


def release_worker(connection: Connection, incarnation: str, *, died: bool, words: str | None = None) -> int:
    """Give back what a worker holds and forget it; returns how many jobs went back. Again: 0.

    `words` tells of its death in the error of the jobs that it had in hand.
    """
    told = None if words is None else words.replace("\x00", "\ufffd")
    return int(_one(connection, "release_worker", {"incarnation": incarnation, "died": died, "words": told}))


def release_others(connection: Connection, node_id: str, alive: list[str], since: dt.datetime) -> int:
    """Give back the jobs of every worker of this node that registered before `since` and is not `alive`."""
    return int(_one(connection, "release_others", {"node_id": node_id, "alive": alive, "since": since}))


def renew_node(
    connection: Connection, *, node_id: str, host: str, version: str, cores: int, lease_seconds: float, place: str = ""
) -> int:
    """Renew this node's lease, give up workers whose lease ended; returns how many. `place` tells a home from its copy.

    Raises NodeTaken, and Unusable where the schema has left this version behind.
    """
    values = {
        "node_id": node_id,
        "host": host,
        "version": version,
        "cores": cores,
        "lease_seconds": lease_seconds,
        "schema": newest(),
        "place": place,
    }
    return int(_one(connection, "renew_node", values))


def renew_this_node(connection: Connection, around: Surroundings) -> None:
    """`renew_node` for the machine and home that this process is of."""
    renew_node(
        connection,
        node_id=around.node_id,
        host=around.host,
        version=__version__,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        lease_seconds=around.settings.jobs.lease_seconds,
        place=around.place,
    )


def hold_primary(connection: Connection, *, agent: str, node_id: str, lease_seconds: float) -> int | None:
    """Take or renew the primary's lease: its term while it is ours, else None."""
    values = {"agent": agent, "node_id": node_id, "lease_seconds": lease_seconds}
    term = _one(connection, "hold_primary", values)
    return None if term is None else int(term)


def set_schedules(connection: Connection, tasks: list[dict[str, Any]]) -> dict[str, dt.datetime]:
    """Make the configured tasks known; returns for each the last due time that was handled."""
    return dict(
        connection.execute(statement("set_schedules"), {"tasks": msgspec.json.encode(tasks).decode()}).fetchall()
    )


def bring_back_schedule(connection: Connection, *, term: int, name: str, at: dt.datetime) -> None:
    """A task's last due time lies beyond its next one, as after a clock that was ahead: it goes on from `at`."""
    connection.execute(statement("bring_back_schedule"), {"term": term, "name": name, "at": at})


def make_tick(
    connection: Connection, *, term: int, name: str, due_at: dt.datetime, kind: str, payload: dict[str, Any]
) -> int | None:
    """Enqueue one due time exactly once; None where it exists already or the term is over."""
    values = {
        "term": term,
        "name": name,
        "due_at": due_at,
        "kind": kind,
        "payload": msgspec.json.encode(payload).decode(),
    }
    job_id = _one(connection, "make_tick", values)
    return None if job_id is None else int(job_id)


def is_dealt_with(connection: Connection, name: str, due_at: dt.datetime) -> bool:
    """Whether this due time became a job or was left out on purpose; False for a task that is not known."""
    return bool(_one(connection, "is_dealt_with", {"name": name, "due_at": due_at}))


def database_now(connection: Connection) -> dt.datetime:
    """The fleet's clock."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def bring_due(connection: Connection) -> int:
    """Claims see from here on what is due of the jobs for later: up to 200 a lane and 2,000 in all; how many."""
    return int(_one(connection, "bring_due", {}))


def next_start_seconds(connection: Connection) -> float:
    """Until a job may start that waits for its time or its kind's rate; infinite where there is none."""
    seconds = _one(connection, "next_start", {})
    return float("inf") if seconds is None else float(seconds)


def queues_with_due_jobs(connection: Connection) -> dict[str, float]:
    """Queues in which a job is due that nobody has claimed, and in how many seconds one may be: a batch is gathered."""
    due: dict[str, float] = {}
    for queue, seconds in connection.execute(statement("due_lanes")).fetchall():
        due[queue] = min(due.get(queue, seconds), seconds)
    return due


def _one(connection: Connection, name: str, values: dict[str, Any]) -> Any:
    try:
        row = connection.execute(statement(name), values).fetchone()
    except psycopg.Error as error:
        if error.sqlstate in UNUSABLE_SQLSTATES:
            raise Unusable(f"{error.diag.message_primary}: {error.diag.message_hint}") from None
        if error.sqlstate == NODE_TAKEN_SQLSTATE:
            raise NodeTaken(error.diag.message_primary or "", error.diag.message_detail or "") from None
        raise
    return None if row is None else row[0]
