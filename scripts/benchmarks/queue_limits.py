"""What limits cost as users grow, and whether a user with much delays those with little."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from benchmarks.house import Scene
from benchmarks.measure import Figure, at_least, at_most, figure, percentile
from benchmarks.queue_parts import database_seconds, drain, wait_for_the_last

from workerctl import enqueue_many
from workerctl.broker.overview import pause_queue

USERS = (10, 100, 1_000, 10_000)
LIMITED_JOBS = 20_000
LIMIT = {"user:{user_id}": 4}
BIG_JOBS = 10_000
SMALL_USERS = 100
SMALL_JOBS = 10
NAP = {"seconds": 0.01}
P95 = percentile(0.95)


def users_with_limits(scene: Scene) -> Iterator[Figure]:
    """20,000 no-op jobs of so many users, each with a limit of 4, well mixed; 2 workers, 100 at a time."""
    for users in USERS:
        jobs: list[Any] = [{"kind": "bench.noop", "user_id": f"u{n % users}"} for n in range(LIMITED_JOBS)]
        rates = [drain(scene, workers=2, concurrency=100, limits=LIMIT, jobs=jobs).jobs_per_second
                 for _ in range(scene.runs)]  # fmt: skip
        target = at_least(3_000) if users == 10_000 else ()
        yield figure(f"{LIMITED_JOBS:,} jobs of {users:,} users with a limit each", "jobs/s", rates, target)


def fairness(scene: Scene) -> Iterator[Figure]:
    """100 users of 10 jobs of 10 ms: what they wait alone, and behind 10,000 jobs of one other user."""
    alone = [P95(_waits_of_the_small(scene, big_jobs=0)) for _ in range(scene.runs)]
    behind = [P95(_waits_of_the_small(scene, big_jobs=BIG_JOBS)) for _ in range(scene.runs)]
    yield figure("p95 wait of 100 users with 10 jobs each, alone", "ms", alone)
    yield figure("  behind one user's 10,000 jobs", "ms", behind)
    ratios = [there / here for there, here in zip(behind, alone, strict=True)]
    yield figure("  against alone", "x", ratios, at_most(2))


def _waits_of_the_small(scene: Scene, big_jobs: int) -> list[float]:
    """Milliseconds from the moment the queue goes on to each small user's job's start."""
    with scene.server.fresh_database() as url, scene.house(url) as house:
        house.start(4)
        with psycopg.connect(url, autocommit=True) as connection:
            pause_queue(connection, "default", paused=True)
            enqueue_many([{"kind": "bench.nap", "payload": NAP, "user_id": "big"}] * big_jobs, conn=connection)
            small = [f"u{n % SMALL_USERS}" for n in range(SMALL_USERS * SMALL_JOBS)]
            enqueue_many([{"kind": "bench.nap", "payload": NAP, "user_id": user} for user in small], conn=connection)
            since = database_seconds(connection)
            pause_queue(connection, "default", paused=False)
            wait_for_the_last(connection)
            rows = connection.execute(
                "SELECT (extract(epoch FROM started_at)::float8 - %s) * 1000 FROM workerctl.history"
                " WHERE user_id <> 'big'",
                [since],
            ).fetchall()
    assert len(rows) == SMALL_USERS * SMALL_JOBS
    return [wait for (wait,) in rows]
