"""What the measurements of the queue share: a schema of its own, a drain of the whole, when the last job ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from benchmarks.house import Scene, cpu_seconds, wait_until

from workerctl import enqueue_many
from workerctl.broker.migrate import migrate
from workerctl.broker.overview import pause_queue

Connection = psycopg.Connection[Any]
Spec = tuple[str, dict[str, Any]] | dict[str, Any]

NOOP: tuple[str, dict[str, Any]] = ("bench.noop", {})
DRAINED_JOBS = 50_000
PRODUCTION_LOGS = {"sample_successes": 0.1}  # as config/production.toml has them


@contextmanager
def schema(scene: Scene) -> Iterator[tuple[str, Connection]]:
    """A fresh database with the queue in it and nobody who claims: its URL and a connection."""
    with scene.server.fresh_database() as url, psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
        yield url, connection


class Drain(NamedTuple):
    """One drain. CPU time tells what a busy machine hides: it hardly grows when others take their share."""

    jobs_per_second: float
    worker_cpu_us: float  # a job, all workers together
    server_cpu_us: float


def drain(
    scene: Scene,
    *,
    workers: int,
    concurrency: int,
    limits: dict[str, int] | None = None,
    logs: dict[str, float] | None = None,
    jobs: list[Spec] | None = None,
) -> Drain:
    """From the moment the queue goes on, with the workers ready, to the last settlement; 50,000 no-op jobs if none."""
    jobs = jobs or [NOOP] * DRAINED_JOBS
    with scene.server.fresh_database() as url, scene.house(url, limits, logs, concurrency=concurrency) as house:
        house.start(workers)
        with psycopg.connect(url, autocommit=True) as connection:
            pause_queue(connection, "default", paused=True)
            enqueue_many(jobs, conn=connection)
            scene.server.checkpoint()
            pids = house.pids()["workers"]
            worker_cpu, server_cpu = cpu_seconds(pids), scene.server.cpu_seconds()
            since = database_seconds(connection)
            pause_queue(connection, "default", paused=False)
            wait_for_the_last(connection)
            worker_cpu, server_cpu = cpu_seconds(pids) - worker_cpu, scene.server.cpu_seconds() - server_cpu
            took = last_finish(connection, len(jobs)) - since
    return Drain(len(jobs) / took, worker_cpu / len(jobs) * 1e6, server_cpu / len(jobs) * 1e6)


def wait_for_the_last(connection: Connection) -> None:
    wait_until(
        lambda: connection.execute("SELECT FROM workerctl.live LIMIT 1").fetchone() is None,
        120, "the last job", every_seconds=0.2,
    )  # fmt: skip


def last_finish(connection: Connection, jobs: int) -> float:
    """When the last of these ended; there must be exactly so many, all succeeded."""
    row = connection.execute(
        "SELECT count(*), extract(epoch FROM max(finished_at))::float8 FROM workerctl.history"
        " WHERE status = 'succeeded'"
    ).fetchone()
    assert row is not None
    assert row[0] == jobs, f"{row[0]} of {jobs} jobs succeeded"
    return float(row[1])


def database_seconds(connection: Connection) -> float:
    row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    return float(row[0])
