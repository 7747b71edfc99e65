"""The queue: enqueue, drain, full life, pickup, and the claim's cost beside much that it should not see."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
from benchmarks import queue_bare, queue_claims, queue_limits, queue_notify, queue_peers
from benchmarks.house import Scene, wait_until
from benchmarks.measure import Figure, Target, at_least, at_most, figure, percentile
from benchmarks.queue_parts import (
    DRAINED_JOBS,
    NOOP,
    PRODUCTION_LOGS,
    Connection,
    Drain,
    database_seconds,
    drain,
    last_finish,
    schema,
    wait_for_the_last,
)
from benchmarks.stamps import read_stamps

from workerctl import enqueue, enqueue_many

LIFE_JOBS = 40_000
LIFE_BATCH = 100
PICKUPS = 200
PICKUPS_PER_SECOND = 20
BUSY_PICKUPS_PER_SECOND = 100
PRODUCER_SECONDS = 3.0


def enqueueing(scene: Scene) -> Iterator[Figure]:
    """One producer, nobody who claims."""
    singles, bulks = [], []
    for _ in range(scene.runs):
        with schema(scene) as (_, connection):
            enqueue(*NOOP, conn=connection)
            scene.server.checkpoint()
            singles.append(_singles_per_second(connection))
            since = time.perf_counter()
            enqueue_many([NOOP] * DRAINED_JOBS, conn=connection)
            bulks.append(DRAINED_JOBS / (time.perf_counter() - since))
    yield figure("enqueue one by one, each its own commit", "/s", singles, at_least(1_800))
    yield figure("enqueue_many, 1,000 a round trip", "/s", bulks, at_least(75_000))


def drain_with_default_settings(scene: Scene) -> Iterator[Figure]:
    """50,000 jobs that do nothing are there; 4 workers take them, 8 at a time each."""
    drains = [drain(scene, workers=4, concurrency=8) for _ in range(scene.runs)]
    yield from _drain_figures("50,000 no-op jobs, 4 workers, 8 at a time", drains, at_least(6_000, 8_000))


def drain_with_best_settings(scene: Scene) -> Iterator[Figure]:
    """The same with one worker a core, many jobs in hand, and a line in the log for one of ten that succeed."""
    drains = [drain(scene, workers=2, concurrency=500, logs=PRODUCTION_LOGS) for _ in range(scene.runs)]
    name = "50,000 no-op jobs, 2 workers, 500 at a time, 1 in 10 logged"
    yield from _drain_figures(name, drains, at_least(45_000, 60_000))


def full_life(scene: Scene) -> Iterator[Figure]:
    """Enqueued, claimed, run and settled at once: a producer in batches of 100 beside 2 workers."""
    rates = []
    for _ in range(scene.runs):
        with scene.server.fresh_database() as url, scene.house(url, concurrency=500) as house:
            house.start(2)
            scene.server.checkpoint()
            with psycopg.connect(url, autocommit=True) as connection:
                since = database_seconds(connection)
                for _ in range(LIFE_JOBS // LIFE_BATCH):
                    enqueue_many([NOOP] * LIFE_BATCH, conn=connection)
                wait_for_the_last(connection)
                rates.append(LIFE_JOBS / (last_finish(connection, LIFE_JOBS) - since))
    yield figure("full life, a producer beside 2 workers of 500", "jobs/s", rates, at_least(12_000))


def pickup(scene: Scene) -> Iterator[Figure]:
    """20 jobs a second into an idle queue, default settings: from the confirmed commit to the handler's first line."""
    waited = _pickups(scene, PICKUPS_PER_SECOND)
    yield figure("pickup, commit to handler start, p50", "ms", waited, at_most(5, 1.5))
    yield figure("  p90", "ms", waited, value=percentile(0.9))
    yield figure("  p99", "ms", waited, at_most(6), value=percentile(0.99))
    waited = _pickups(scene, BUSY_PICKUPS_PER_SECOND)
    yield figure("  100 a second, p50", "ms", waited)
    yield figure("    p99", "ms", waited, value=percentile(0.99))


def _pickups(scene: Scene, per_second: int) -> list[float]:
    """Milliseconds of each, without the first 20."""
    with scene.server.fresh_database() as url, scene.house(url) as house:
        house.start(4)
        path = house.folder / "stamps"
        committed: dict[int, float] = {}
        with psycopg.connect(url, autocommit=True) as connection:
            due = time.monotonic()
            for _ in range(PICKUPS + PICKUPS_PER_SECOND):
                time.sleep(max(0.0, due - time.monotonic()))
                job_id = enqueue("bench.stamp", {"file": str(path)}, conn=connection)
                committed[job_id] = time.clock_gettime(time.CLOCK_MONOTONIC)
                due += 1 / per_second
            wait_until(lambda: len(read_stamps(path)) >= len(committed), 30, "every job's start")
    warm = sorted(committed)[PICKUPS_PER_SECOND:]
    began = {stamp.job_id: stamp.at for stamp in read_stamps(path)}
    return [(began[job_id] - committed[job_id]) * 1000 for job_id in warm]


STEPS = (
    enqueueing, drain_with_default_settings, drain_with_best_settings, full_life, pickup, queue_claims.claim,
    queue_limits.users_with_limits, queue_limits.fairness, queue_notify.many_producers,
)  # fmt: skip
LONG_STEPS = (
    queue_claims.claim_beside_ten_million, queue_limits.fairness_with_limits_and_batches,
    queue_notify.many_producers_on_a_slow_disk,
)  # fmt: skip
PEER_STEPS = (queue_bare.beside_a_bare_loop, *queue_peers.PEER_STEPS)


def _singles_per_second(connection: Connection) -> float:
    since, count = time.perf_counter(), 0
    while time.perf_counter() - since < PRODUCER_SECONDS:
        enqueue(*NOOP, conn=connection)
        count += 1
    return count / (time.perf_counter() - since)


def _drain_figures(name: str, drains: list[Drain], targets: tuple[Target, ...]) -> Iterator[Figure]:
    yield figure(name, "jobs/s", [drain.jobs_per_second for drain in drains], targets)
    yield figure("  CPU time a job, workers", "us", [drain.worker_cpu_us for drain in drains])
    yield figure("  CPU time a job, PostgreSQL", "us", [drain.server_cpu_us for drain in drains])
