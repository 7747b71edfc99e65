"""The queue: enqueue, drain, full life, pickup, and the claim's cost beside much that it should not see."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from benchmarks.house import Scene, cpu_seconds, wait_until
from benchmarks.measure import Figure, Target, at_least, at_most, figure, percentile
from benchmarks.stamps import read_stamps

from workerctl import enqueue, enqueue_many
from workerctl.broker.exchange import Ended, Request, exchange
from workerctl.broker.fleet import KnownKind, Registration, register_worker
from workerctl.broker.migrate import migrate
from workerctl.broker.overview import pause_queue

Connection = psycopg.Connection[Any]

NOOP: tuple[str, dict[str, Any]] = ("bench.noop", {})
DRAINED_JOBS = 50_000
LIFE_JOBS = 40_000
LIFE_BATCH = 100
PICKUPS = 200
PICKUPS_PER_SECOND = 20
CLAIMS = 1_000
CLAIMS_A_TURN = 50
CLAIM_JOBS = 8
PENDING_JOBS = 200_000
HISTORY_JOBS = 500_000
PRODUCER_SECONDS = 3.0


def enqueueing(scene: Scene) -> Iterator[Figure]:
    """One producer, nobody who claims."""
    singles, bulks = [], []
    for _ in range(scene.runs):
        with _schema(scene) as (_, connection):
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
    drains = [_drain(scene, workers=4, concurrency=8) for _ in range(scene.runs)]
    yield from _drain_figures("50,000 no-op jobs, 4 workers, 8 at a time", drains, at_least(6_000, 8_000))


def drain_with_best_settings(scene: Scene) -> Iterator[Figure]:
    """The same with one worker a core and many jobs in hand."""
    drains = [_drain(scene, workers=2, concurrency=500) for _ in range(scene.runs)]
    yield from _drain_figures("50,000 no-op jobs, 2 workers, 500 at a time", drains, at_least(45_000, 60_000))


def full_life(scene: Scene) -> Iterator[Figure]:
    """Enqueued, claimed, run and settled at once: a producer in batches of 100 beside 2 workers."""
    rates = []
    for _ in range(scene.runs):
        with scene.server.fresh_database() as url, scene.house(url, concurrency=500) as house:
            house.start(2)
            scene.server.checkpoint()
            with psycopg.connect(url, autocommit=True) as connection:
                since = _database_seconds(connection)
                for _ in range(LIFE_JOBS // LIFE_BATCH):
                    enqueue_many([NOOP] * LIFE_BATCH, conn=connection)
                _wait_for_the_last(connection)
                rates.append(LIFE_JOBS / (_last_finish(connection, LIFE_JOBS) - since))
    yield figure("full life, a producer beside 2 workers of 500", "jobs/s", rates, at_least(12_000))


def pickup(scene: Scene) -> Iterator[Figure]:
    """20 jobs a second into an idle queue, default settings: from the confirmed commit to the handler's first line."""
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
                due += 1 / PICKUPS_PER_SECOND
            wait_until(lambda: len(read_stamps(path)) >= len(committed), 30, "every job's start")
    warm = sorted(committed)[PICKUPS_PER_SECOND:]
    began = {stamp.job_id: stamp.at for stamp in read_stamps(path)}
    waited = [(began[job_id] - committed[job_id]) * 1000 for job_id in warm]
    yield figure("pickup, commit to handler start, p50", "ms", waited, at_most(5, 1.5))
    yield figure("  p90", "ms", waited, value=percentile(0.9))
    yield figure("  p99", "ms", waited, at_most(6), value=percentile(0.99))


def claim(scene: Scene) -> Iterator[Figure]:
    """One round trip that settles 8 jobs and claims 8: in an empty queue, and beside a backlog and a history.

    Both take turns, so that a busy machine is as busy for the one as for the other.
    """
    with _schema(scene) as (_, empty), _schema(scene) as (_, full):
        enqueue_many([NOOP] * PENDING_JOBS, conn=full)
        _fill_history(full)
        full.execute("VACUUM ANALYZE workerctl.live, workerctl.history")  # as autovacuum has done by then
        scene.server.checkpoint()
        claimers = Claimer(empty), Claimer(full)
        for _ in range(CLAIMS // CLAIMS_A_TURN):
            for claimer in claimers:
                claimer.take_a_turn()
    small, large = (claimer.took_ms for claimer in claimers)
    p99 = percentile(0.99)
    yield figure("settle 8 and claim 8, empty queue, p50", "ms", small)
    yield figure("  p99", "ms", small, value=p99)
    yield figure("the same beside 200,000 pending and 500,000 ended, p50", "ms", large)
    yield figure("  p99", "ms", large, value=p99)
    yield figure("  p50 against empty", "x", [statistics.median(large) / statistics.median(small)])
    yield figure("  p99 against empty", "x", [p99(large) / p99(small)], at_most(2))


STEPS = (enqueueing, drain_with_default_settings, drain_with_best_settings, full_life, pickup, claim)


@contextmanager
def _schema(scene: Scene) -> Iterator[tuple[str, Connection]]:
    """A fresh database with the queue in it and nobody who claims: its URL and a connection."""
    with scene.server.fresh_database() as url, psycopg.connect(url, autocommit=True) as connection:
        migrate(connection)
        yield url, connection


def _singles_per_second(connection: Connection) -> float:
    since, count = time.perf_counter(), 0
    while time.perf_counter() - since < PRODUCER_SECONDS:
        enqueue(*NOOP, conn=connection)
        count += 1
    return count / (time.perf_counter() - since)


class Drain(NamedTuple):
    """One drain. CPU time tells what a busy machine hides: it hardly grows when others take their share."""

    jobs_per_second: float
    worker_cpu_us: float  # a job, all workers together
    server_cpu_us: float


def _drain(scene: Scene, *, workers: int, concurrency: int) -> Drain:
    """From the moment the queue is resumed, with the workers ready, to the last settlement."""
    with scene.server.fresh_database() as url, scene.house(url, concurrency=concurrency) as house:
        house.start(workers)
        with psycopg.connect(url, autocommit=True) as connection:
            pause_queue(connection, "default", paused=True)
            enqueue_many([NOOP] * DRAINED_JOBS, conn=connection)
            scene.server.checkpoint()
            pids = house.pids()["workers"]
            worker_cpu, server_cpu = cpu_seconds(pids), scene.server.cpu_seconds()
            since = _database_seconds(connection)
            pause_queue(connection, "default", paused=False)
            _wait_for_the_last(connection)
            worker_cpu, server_cpu = cpu_seconds(pids) - worker_cpu, scene.server.cpu_seconds() - server_cpu
            took = _last_finish(connection, DRAINED_JOBS) - since
    return Drain(DRAINED_JOBS / took, worker_cpu / DRAINED_JOBS * 1e6, server_cpu / DRAINED_JOBS * 1e6)


def _drain_figures(name: str, drains: list[Drain], targets: tuple[Target, ...]) -> Iterator[Figure]:
    yield figure(name, "jobs/s", [drain.jobs_per_second for drain in drains], targets)
    yield figure("  CPU time a job, workers", "us", [drain.worker_cpu_us for drain in drains])
    yield figure("  CPU time a job, PostgreSQL", "us", [drain.server_cpu_us for drain in drains])


def _wait_for_the_last(connection: Connection) -> None:
    wait_until(
        lambda: connection.execute("SELECT FROM workerctl.live LIMIT 1").fetchone() is None,
        120, "the last job", every_seconds=0.2,
    )  # fmt: skip


def _last_finish(connection: Connection, jobs: int) -> float:
    """When the last of these ended; there must be exactly so many, all succeeded."""
    row = connection.execute(
        "SELECT count(*), extract(epoch FROM max(finished_at))::float8 FROM workerctl.history"
        " WHERE status = 'succeeded'"
    ).fetchone()
    assert row is not None
    assert row[0] == jobs, f"{row[0]} of {jobs} jobs succeeded"
    return float(row[1])


def _database_seconds(connection: Connection) -> float:
    row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    return float(row[0])


class Claimer:
    """Speaks to one queue as a worker does; what each call settles was claimed by the one before."""

    def __init__(self, connection: Connection) -> None:
        worker = Registration("bench", "bench", "bench", "default", 1, 1, None, [], 600.0)
        self._connection = connection
        self._worker_id = register_worker(connection, worker, [KnownKind("bench.noop", "default", 3, 1)])
        self._ended: list[Ended] = []
        self.took_ms: list[float] = []
        connection.prepare_threshold = 1  # as in a worker

    def take_a_turn(self) -> None:
        for _ in range(CLAIMS_A_TURN):
            enqueue_many([NOOP] * CLAIM_JOBS, conn=self._connection)
            since = time.perf_counter()
            reply = exchange(self._connection, self._worker_id, Request(want=CLAIM_JOBS, ended=self._ended))
            self.took_ms.append((time.perf_counter() - since) * 1000)
            self._ended = [Ended(job.id, job.attempt, "succeeded") for job in reply.claimed or []]
            assert len(self._ended) == CLAIM_JOBS


def _fill_history(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO workerctl.history (id, status, kind, queue, priority, max_attempts, failures, deaths, attempt,"
        " children_total, children_succeeded, children_dead, children_cancelled, run_at, created_at, started_at,"
        " node, worker, payload) "
        "SELECT nextval('workerctl.job_id'), 'succeeded', 'bench.noop', 'default', 0, 3, 0, 0, 1, 0, 0, 0, 0, now(),"
        " now(), now(), 'bench', 'default/1', '{}' FROM generate_series(1, %s)",
        [HISTORY_JOBS],
    )
