"""The claim's cost beside what it should not see: a backlog, a history, dead rows that an old snapshot keeps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from benchmarks.house import Scene
from benchmarks.measure import Figure, at_most, figure, percentile
from benchmarks.queue_parts import NOOP, Connection, schema

from workerctl import enqueue_many
from workerctl.broker.exchange import Ended, Request, exchange
from workerctl.broker.fleet import KnownKind, Registration, register_worker

CLAIMS = 1_000
CLAIMS_A_TURN = 50
CLAIM_JOBS = 8
PENDING_JOBS = 200_000
HISTORY_JOBS = 500_000
MANY_PENDING = 1_000_000
MANY_ENDED = 10_000_000
CHURN_JOBS = 100_000
CHURN_BATCH = 500
P99 = percentile(0.99)


def claim(scene: Scene) -> Iterator[Figure]:
    """One round trip that settles 8 jobs and claims 8: in an empty queue, and beside a backlog and a history.

    Both take turns, so that a busy machine is as busy for the one as for the other.
    """
    with schema(scene) as (_, empty), schema(scene) as (_, full):
        _fill(scene, full, PENDING_JOBS, HISTORY_JOBS)
        yield from _against_empty(empty, full, "beside 200,000 pending and 500,000 ended")


def claim_beside_ten_million(scene: Scene) -> Iterator[Figure]:
    """The same beside 10 million ended and 1 million pending jobs; then while one old snapshot keeps every dead row."""
    with schema(scene) as (_, empty), schema(scene) as (full_url, full):
        _fill(scene, full, MANY_PENDING, MANY_ENDED)
        yield from _against_empty(empty, full, "beside 1 million pending and 10 million ended")
        with _old_snapshot(full_url):
            _churn(full)
            yield from _against_empty(empty, full, "the same and 100,000 jobs since an open transaction began")
        full.execute("VACUUM workerctl.live")
        yield from _against_empty(empty, full, "the same after that transaction and a vacuum")


class Claimer:
    """Speaks to one queue as a worker does; what each call settles was claimed by the one before."""

    def __init__(self, connection: Connection) -> None:
        worker = Registration("bench", "bench", "bench", "default", 1, 1, None, [], 6000.0)
        self._connection = connection
        self._worker_id = register_worker(connection, worker, [KnownKind("bench.noop", "default", 3, 1)])
        self._ended: list[Ended] = []
        self.took_ms: list[float] = []
        connection.prepare_threshold = 1  # as in a worker

    def take_a_turn(self) -> None:
        """Some exchanges; as many jobs are enqueued as are claimed."""
        for _ in range(CLAIMS_A_TURN):
            self.take(CLAIM_JOBS)

    def take(self, jobs: int) -> None:
        """One exchange."""
        enqueue_many([NOOP] * jobs, conn=self._connection)
        since = time.perf_counter()
        reply = exchange(self._connection, self._worker_id, Request(want=jobs, ended=self._ended))
        self.took_ms.append((time.perf_counter() - since) * 1000)
        self._ended = [Ended(job.id, job.attempt, "succeeded") for job in reply.claimed or []]
        assert len(self._ended) == jobs

    def settle(self) -> None:
        """Leave nothing in hand."""
        exchange(self._connection, self._worker_id, Request(ended=self._ended))
        self._ended = []


def _against_empty(empty: Connection, full: Connection, where: str) -> Iterator[Figure]:
    claimers = Claimer(empty), Claimer(full)
    for _ in range(CLAIMS // CLAIMS_A_TURN):
        for claimer in claimers:
            claimer.take_a_turn()
    for claimer in claimers:
        claimer.settle()
    small, large = (claimer.took_ms for claimer in claimers)
    yield figure("settle 8 and claim 8, empty queue, p50", "ms", small)
    yield figure("  p99", "ms", small, value=P99)
    yield figure(f"{where}, p50", "ms", large)
    yield figure("  p99", "ms", large, value=P99)
    yield figure("  p50 against empty", "x", [statistics.median(large) / statistics.median(small)])
    yield figure("  p99 against empty", "x", [P99(large) / P99(small)], at_most(2))


def _churn(connection: Connection) -> None:
    claimer = Claimer(connection)
    for _ in range(CHURN_JOBS // CHURN_BATCH):
        claimer.take(CHURN_BATCH)
    claimer.settle()


@contextmanager
def _old_snapshot(url: str) -> Iterator[None]:
    """Somebody's report: a transaction that has looked once and stays open."""
    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM workerctl.worker")
        yield


def _fill(scene: Scene, connection: Connection, pending: int, ended: int) -> None:
    """Rows as they would be, made in SQL; the history spread over the days there are."""
    enqueue_many([NOOP], conn=connection)
    connection.execute(
        "INSERT INTO workerctl.live (lane_id, rank)"
        " SELECT (SELECT id FROM workerctl.lane WHERE NOT keyed LIMIT 1), workerctl.rank_of(now(), 0) - %(n)s + n"
        "   FROM generate_series(1, %(n)s) AS n",
        {"n": pending},
    )
    connection.execute(
        "INSERT INTO workerctl.history (id, status, finished_at, kind, queue, priority, max_attempts, failures, deaths,"
        " attempt, children_total, children_succeeded, children_dead, children_cancelled, run_at, created_at,"
        " started_at, node, worker, payload) "
        "SELECT nextval('workerctl.job_id'), 'succeeded', now() + make_interval(days => n %% 4), 'bench.noop',"
        " 'default', 0, 3, 0, 0, 1, 0, 0, 0, 0, now(), now(), now(), 'bench', 'default/1', '{}'"
        "  FROM generate_series(1, %s) AS n",
        [ended],
    )
    connection.execute("VACUUM ANALYZE workerctl.live, workerctl.history")  # as autovacuum has done by then
    scene.server.checkpoint()
