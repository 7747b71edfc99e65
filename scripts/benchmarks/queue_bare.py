"""A drain beside a loop written by hand without limits, users, leases or logs: what these minutes allow at all."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
from benchmarks.house import Scene, wait_until
from benchmarks.measure import Figure, figure
from benchmarks.queue_parts import DRAINED_JOBS, PRODUCTION_LOGS, drain

PROGRAM = Path(__file__).parent / "peers" / "peer_bare.py"
TABLES = (
    "CREATE SCHEMA bare",
    "CREATE TABLE bare.live (id bigint PRIMARY KEY, kind text NOT NULL, status text NOT NULL DEFAULT 'pending',"
    " attempt integer NOT NULL DEFAULT 0, created_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz,"
    " payload jsonb NOT NULL) WITH (fillfactor = 70)",
    "CREATE INDEX ON bare.live (id) WHERE status = 'pending'",
    "CREATE TABLE bare.history (LIKE bare.live, finished_at timestamptz NOT NULL)",
    "CREATE INDEX ON bare.history (id)",
)


def beside_a_bare_loop(scene: Scene) -> Iterator[Figure]:
    """In turns: the loop's drain and ours, each by two processes with 500 in hand."""
    bare, ours = [], []
    for _ in range(scene.runs):
        bare.append(_bare_drain(scene))
        ours.append(drain(scene, workers=2, concurrency=500, logs=PRODUCTION_LOGS).jobs_per_second)
    yield figure(f"{DRAINED_JOBS:,} no-op jobs, a loop of psycopg written by hand, 2 processes", "jobs/s", bare)
    yield figure("  workerctl, 2 workers, 500 at a time, 1 in 10 logged", "jobs/s", ours)
    yield figure("  by that of the loop", "x", [one / other for one, other in zip(ours, bare, strict=True)])


def _bare_drain(scene: Scene) -> float:
    with (
        scene.server.fresh_database() as url,
        psycopg.connect(url, autocommit=True) as connection,
        contextlib.ExitStack() as ended,
    ):
        for statement in TABLES:
            connection.execute(statement.encode())
        connection.execute(
            "INSERT INTO bare.live (id, kind, payload) SELECT n, 'noop', '{}' FROM generate_series(1, %s) AS n",
            [DRAINED_JOBS],
        )
        connection.execute("ANALYZE bare.live")
        loops = [ended.enter_context(_loop(url)) for _ in range(2)]
        scene.server.checkpoint()
        for loop in loops:
            assert loop.stdin is not None
            loop.stdin.write("go\n")
            loop.stdin.flush()
        wait_until(
            lambda: connection.execute("SELECT FROM bare.live LIMIT 1").fetchone() is None,
            60, "the last job", every_seconds=0.1,
        )  # fmt: skip
        row = connection.execute(
            "SELECT count(*), extract(epoch FROM max(finished_at) - min(started_at))::float8 FROM bare.history"
        ).fetchone()
    assert row is not None
    assert row[0] == DRAINED_JOBS
    return float(row[0] / row[1])


@contextlib.contextmanager
def _loop(url: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, PROGRAM, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
