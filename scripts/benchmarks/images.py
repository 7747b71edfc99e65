"""Pictures from a provider: what we add to its own time, and the memory of a worker that has eight of them in hand."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import psycopg
from benchmarks.house import House, Scene, wait_until
from benchmarks.measure import Figure, at_most, figure

from workerctl import enqueue

SERVER = Path(__file__).with_name("picture_server.py")
KEY_VARIABLE = "BENCH_PICTURES_KEY"
CONCURRENCY = 8
PROVIDER_SECONDS = 2.0
BATCH, SHORT_BATCH = 50, 16
SAMPLE_SECONDS = 0.02
MIB = 1024 * 1024


class Provider(NamedTuple):
    """One that runs: where, and the bytes of its picture."""

    url: str
    picture_bytes: int


class Taken(NamedTuple):
    """What a batch took."""

    seconds: float
    job_seconds: list[float]
    cpu_seconds: float  # of the worker
    peak_mib: float  # private


def overhead(scene: Scene) -> Iterator[Figure]:
    """A batch of 50 at 1024x1024 and 2 s, eight at a time in one worker, against bare calls, eight at a time too."""
    with _provider(1024) as provider:
        bare = _bare_seconds(provider)
        taken = _batch(scene, provider, 1024)
    jobs = statistics.median(taken.job_seconds)
    yield figure("a bare call, 2 s and its transfer", "s", bare)
    yield figure("image.generate, 1024x1024, 8 at a time", "s", taken.job_seconds)
    yield figure("  against the bare call", "x", [jobs / statistics.median(bare)], at_most(1.05))
    yield figure("  CPU time of an image", "ms", [taken.cpu_seconds / BATCH * 1000])
    yield figure(f"images, 1 worker x {CONCURRENCY} at 2 s each", "/s", [BATCH / taken.seconds])


def memory(scene: Scene) -> Iterator[Figure]:
    """Batches at 2048x2048 and about 4 MB, eight at a time in one worker, stored in each format."""
    with _provider(2048) as provider:
        for form, count in {"png": BATCH, "webp": SHORT_BATCH, "jpeg": SHORT_BATCH, "avif": SHORT_BATCH}.items():
            taken = _batch(scene, provider, 2048, form, count)
            name = f"peak private memory, 8 at a time, {provider.picture_bytes / MIB:.1f} MB each, as {form}"
            yield figure(name, "MB", [taken.peak_mib], at_most(200))
            yield figure("  CPU time of an image", "ms", [taken.cpu_seconds / count * 1000])
            yield figure("  images, 1 worker x 8 at 2 s each", "/s", [count / taken.seconds])


STEPS = (overhead, memory)


@contextlib.contextmanager
def _provider(side: int) -> Iterator[Provider]:
    command = [sys.executable, str(SERVER), str(PROVIDER_SECONDS), str(side)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port, picture_bytes = server.stdout.readline().split()
        yield Provider(f"http://127.0.0.1:{port}/v1", int(picture_bytes))
    finally:
        server.kill()
        server.wait()


def _bare_seconds(provider: Provider) -> list[float]:
    """Of calls that are made and thrown away, CONCURRENCY at a time."""
    with httpx.Client(trust_env=False, timeout=30) as client:

        def call(_: int) -> float:
            since = time.perf_counter()
            client.post(f"{provider.url}/images/generations", json={"prompt": "a"}).raise_for_status()
            return time.perf_counter() - since

        with ThreadPoolExecutor(CONCURRENCY) as threads:
            return list(threads.map(call, range(2 * CONCURRENCY)))


def _batch(scene: Scene, provider: Provider, side: int, form: str = "png", count: int = BATCH) -> Taken:
    os.environ[KEY_VARIABLE] = "none"
    with scene.server.fresh_database() as url, scene.house(url, concurrency=CONCURRENCY) as house:
        _configure(house, provider, side)
        house.start(1)
        (pid,) = house.pids()["workers"]
        with psycopg.connect(url, autocommit=True) as connection, _peak_private(pid) as peak:
            cpu = sum(psutil.Process(pid).cpu_times()[:2])
            job = enqueue("image.batch", {"prompt": "a fox", "count": count, "format": form}, conn=connection)
            wait_until(lambda: _is_done(connection, job), 200, f"{count} images", every_seconds=0.1)
            cpu = sum(psutil.Process(pid).cpu_times()[:2]) - cpu
            rows = connection.execute(
                "SELECT extract(epoch FROM started_at)::float8, extract(epoch FROM finished_at)::float8"
                "  FROM workerctl.history WHERE parent_id = %s AND status = 'succeeded'",
                [job],
            ).fetchall()
    assert len(rows) == count, f"{len(rows)} of {count} images were made"
    seconds = max(ended for _, ended in rows) - min(began for began, _ in rows)
    return Taken(seconds, [ended - began for began, ended in rows], cpu, peak[0])


def _configure(house: House, provider: Provider, side: int) -> None:
    with (house.folder / "workerctl.toml").open("a") as file:
        file.write(
            f'[providers.bench]\ntype = "openai"\nkinds = ["image"]\nbase_url = "{provider.url}"\n'
            f'api_key_variable = "{KEY_VARIABLE}"\nmodel = "bench"\nsizes = ["{side}x{side}"]\n'
        )


def _is_done(connection: psycopg.Connection, job: int) -> bool:
    return connection.execute("SELECT FROM workerctl.history WHERE id = %s", [job]).fetchone() is not None


@contextlib.contextmanager
def _peak_private(pid: int) -> Iterator[list[float]]:
    """The most that was seen while the block ran, every 20 ms."""
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], _private_mib(pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _private_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024 / MIB
