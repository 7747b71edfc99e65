"""Jobs on the shipped handlers against the simulated provider: a real queue, real storage, one attempt at a time."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

import workerctl.jobs.shipped  # noqa: F401  registers the kinds
from workerctl.broker.connection import connect
from workerctl.broker.exchange import Again, Claimed, Ended, FollowUp, Parent, Request, exchange
from workerctl.broker.fleet import KnownKind, Registration, register_worker
from workerctl.broker.jobs import show_job
from workerctl.broker.migrate import migrate
from workerctl.cache import forget_all
from workerctl.handler import Context, Job, decode, handlers, know_settings
from workerctl.jobs.providers import calls, fal_queue
from workerctl.producer import enqueue
from workerctl.settings import Settings, load
from workerctl.storage import Storage
from workerctl.storage.local import LocalStorage
from workerctl.testing.simulator import Simulator
from workerctl.worker.outcome import Raised, Returned, follow_ups, settle

KEY = "simulator"
TRUST = httpx.create_ssl_context()  # once: it takes longer than a test
JOBS = """
[jobs]
retry_delay = "100ms"
"""


@dataclass
class Services:
    """What a worker lends."""

    storage: Storage
    database_url: str
    settings: Settings
    http: Any = None

    def database(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        return connect(self.database_url, application="test")


@dataclass
class Desk:
    """A worker driven by hand: it claims one job, runs its handler, and settles it as a worker would."""

    queue: psycopg.Connection[Any]
    database_url: str
    storage: Storage
    settings: Settings
    worker: int
    stop: Callable[[Context, asyncio.Task[Any]], None] | None = None  # called as the handler starts
    last: Context | None = field(default=None, init=False)

    def enqueue(self, kind: str, payload: Any, **options: Any) -> int:
        know_settings(self.settings)
        return enqueue(kind, payload, conn=self.queue, **options)

    def attempt(self, job_id: int) -> dict[str, Any]:
        """One attempt, at once whatever it should wait for; the job as it is then."""
        self.queue.execute("UPDATE workerctl.live SET run_at = now(), rank = 0 WHERE id = %s", [job_id])
        claimed = exchange(self.queue, self.worker, Request(want=1)).claimed or []
        assert [job.id for job in claimed] == [job_id]
        self.settle(claimed[0], asyncio.run(self._outcome(claimed[0])))
        return self.job(job_id)

    def run(self, kind: str, payload: Any, *, attempts: int = 1, **options: Any) -> dict[str, Any]:
        """A new job through so many attempts, or fewer where it ends before."""
        job_id = self.enqueue(kind, payload, **options)
        job = self.job(job_id)
        for _ in range(attempts):
            job = self.attempt(job_id)
            if job["status"] != "pending":
                break
        return job

    def job(self, job_id: int) -> dict[str, Any]:
        return show_job(self.queue, job_id)

    def spend(self) -> list[tuple[str, float]]:
        """(state, cost) of every call, in order."""
        rows = self.queue.execute("SELECT state::text, cost::float8 FROM workerctl.spend ORDER BY id").fetchall()
        return [(state, cost) for state, cost in rows]

    def claim(self, job_id: int) -> Claimed:
        """Claim a job and do nothing with it: the worker dies with it."""
        [job] = exchange(self.queue, self.worker, Request(want=1)).claimed or []
        assert job.id == job_id
        return job

    def context(self, claimed: Claimed, http: Any = None) -> Context:
        services = Services(self.storage, self.database_url, self.settings, http)
        job = Job(claimed.id, claimed.kind, attempt=claimed.attempt, failures=claimed.failures, plan=claimed.plan,
                  max_attempts=claimed.max_attempts, user_id=claimed.user_id)  # fmt: skip
        return Context(job, services)

    async def _outcome(self, claimed: Claimed) -> Returned | Raised:
        async with httpx.AsyncClient(http2=True, follow_redirects=True, verify=TRUST) as http:
            self.last = context = self.context(claimed, http)
            handler = handlers()[claimed.kind]
            try:
                if not handler.is_async:
                    payload = decode(handler, claimed.payload)
                    return Returned(await asyncio.to_thread(handler.function, payload, context))
                task = asyncio.ensure_future(handler.function(decode(handler, claimed.payload), context))
                if self.stop is not None:
                    self.stop(context, task)
                return Returned(await task)
            except asyncio.CancelledError as error:
                return Raised(context.stop_reason or error)
            except Exception as error:
                return Raised(error)

    def settle(self, claimed: Claimed, outcome: Returned | Raised) -> None:
        assert self.last is not None
        settlement = settle(claimed, outcome, self.last, self.settings.jobs.retry_delay_seconds, 0.5)
        request = Request()
        match settlement:
            case Ended():
                request.ended.append(settlement)
            case Again():
                request.again.append(settlement)
            case Parent():
                request.parents.append(settlement)
        specs = follow_ups(settlement, self.last)
        request.follow_ups = [FollowUp(claimed.id, spec) for spec in specs]
        reply = exchange(self.queue, self.worker, request)
        assert not reply.lost


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path / "storage")


TABLES = "live, history, memory, spend, spend_hour, provider, worker, seat, hold, start, execution_log"


@pytest.fixture(scope="session")
def migrated_url(embedded_server: Any) -> Iterator[str]:
    """A database for all tests of this folder; each begins with an empty queue."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with embedded_server.connect(superuser=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER workerctl")
        url = urlsplit(embedded_server.server.url)._replace(path=f"/{name}").geturl()
        with connect(url, application="test") as own:
            migrate(own)
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def queue(migrated_url: str) -> Iterator[psycopg.Connection[Any]]:
    """An empty queue."""
    with connect(migrated_url, application="test") as connection:
        connection.execute("TRUNCATE " + ", ".join(f"workerctl.{table}" for table in TABLES.split(", ")))
        yield connection


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Starts simulators: `simulate(latency=0.1)`."""
    started: list[Simulator] = []

    def start(**options: Any) -> Simulator:
        started.append(Simulator(key=KEY, **options).__enter__())
        return started[-1]

    yield start
    for simulator in started:
        simulator.__exit__(None, None, None)


@pytest.fixture
def provider(simulate: Callable[..., Simulator]) -> Simulator:
    """A provider that answers at once."""
    return simulate()


_numbers = itertools.count(1)


@pytest.fixture
def desk(
    queue: psycopg.Connection[Any], migrated_url: str, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Desk]:
    """Makes a worker with a config: `desk(toml)`. Keys are in the environment."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("FAL_KEY", KEY)
    monkeypatch.setattr(calls, "_breakers", {})  # a process of its own, as far as providers are concerned
    monkeypatch.setattr(calls, "_paused_until", {})
    monkeypatch.setattr(fal_queue, "_took", {})
    forget_all()

    def make(config: str) -> Desk:
        (tmp_path / "workerctl.toml").write_text(JOBS + config)
        settings = load(None, None, {}, tmp_path).settings
        kinds = [KnownKind(kind, one.queue, 3, one.batch) for kind, one in handlers().items()]
        number = next(_numbers)
        registration = Registration(f"n1.{number}", "n1", "host", "default", number, 1, None, [], 300.0)
        know_settings(settings)
        return Desk(queue, migrated_url, storage, settings, register_worker(queue, registration, kinds))

    return make
