"""What limits cost as users grow, and whether a user with much delays those with little."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

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


class Contest(NamedTuple):
    """In what users take turns."""

    kind: str = "bench.nap"
    limits: dict[str, int] | None = None
    priority: int = 0


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
    yield from _against_alone(scene, "", Contest())


def fairness_with_limits_and_batches(scene: Scene) -> Iterator[Figure]:
    """The same where each user has a limit, where a call takes many jobs, and at a priority."""
    yield from _against_alone(scene, ", 4 at once each", Contest(limits=LIMIT))
    yield from _against_alone(scene, ", 10 in a call", Contest(kind="bench.naps"))
    yield from _against_alone(scene, ", all with a priority", Contest(priority=5))


def _against_alone(scene: Scene, how: str, contest: Contest) -> Iterator[Figure]:
    alone = [P95(_waits_of_the_small(scene, contest, big_jobs=0)) for _ in range(scene.runs)]
    behind = [P95(_waits_of_the_small(scene, contest, big_jobs=BIG_JOBS)) for _ in range(scene.runs)]
    yield figure(f"p95 wait of 100 users with 10 jobs each{how}, alone", "ms", alone)
    yield figure("  behind one user's 10,000 jobs", "ms", behind)
    ratios = [there / here for there, here in zip(behind, alone, strict=True)]
    yield figure("  against alone", "x", ratios, at_most(2))


def _waits_of_the_small(scene: Scene, contest: Contest, big_jobs: int) -> list[float]:
    """Milliseconds from the moment the queue goes on to each small user's job's start."""
    job = {"kind": contest.kind, "payload": NAP, "priority": contest.priority}
    with scene.server.fresh_database() as url, scene.house(url, contest.limits) as house:
        house.start(4)
        with psycopg.connect(url, autocommit=True) as connection:
            pause_queue(connection, "default", paused=True)
            enqueue_many([job | {"user_id": "big"}] * big_jobs, conn=connection)
            small = [f"u{n % SMALL_USERS}" for n in range(SMALL_USERS * SMALL_JOBS)]
            enqueue_many([job | {"user_id": user} for user in small], conn=connection)
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
