"""Processes: memory of the tree, start, death and successor, scale, status, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import psycopg
from benchmarks.house import House, Scene, TooLate, wait_until
from benchmarks.measure import Figure, at_most, figure, percentile
from benchmarks.processes_more import STEPS as MORE_STEPS
from benchmarks.processes_more import statuses
from benchmarks.processes_peers import against_peers
from benchmarks.processes_peers_jobs import STEPS as PEER_JOB_STEPS
from benchmarks.stamps import Stamp, read_stamps

from workerctl import enqueue, enqueue_many

WORKERS = 4
KILLS = 20
KILLS_WITH_A_JOB = 5
JOBS_BEFORE_MEMORY = 2_000
IMPORTS = "import boto3, PIL.Image, httpx, psycopg"
TREE = ("workers", "template", "supervisor", "agent", "collector")
MIB = 1024 * 1024


def memory(scene: Scene) -> Iterator[Figure]:
    """PSS counts a page that n processes share as 1/n for each, so it may be summed."""
    fresh, idle, used, doubled = [], [], [], []
    for _ in range(scene.runs):
        with _fresh_processes(WORKERS) as pids:
            fresh.append(sum(_pss_mib(pid) for pid in pids))
        with scene.server.fresh_database() as url, scene.house(url) as house:
            house.start(WORKERS)
            idle.append(_tree_mib(house))
            with psycopg.connect(url, autocommit=True) as connection:
                enqueue_many([("bench.noop", {})] * JOBS_BEFORE_MEMORY, conn=connection)
                wait_until(lambda connection=connection: _is_empty(connection), 30, f"{JOBS_BEFORE_MEMORY} jobs")
            used.append(sum(_tree_mib(house).values()))
        with scene.server.fresh_database() as url, scene.house(url) as house:
            house.start(2 * WORKERS)
            doubled.append(sum(_tree_mib(house).values()))
    sums = [sum(tree.values()) for tree in idle]
    yield figure(f"PSS of {WORKERS} fresh processes with the same imports", "MB", fresh)
    yield figure(f"PSS of the tree, {WORKERS} idle workers", "MB", sums, at_most(120, 90))
    for name in TREE:
        yield figure(
            f"  of it: {name}", "MB", [tree[name] for tree in idle], at_most(14) if name == "supervisor" else ()
        )
    yield figure("  tree / fresh processes", "x", [tree / alone for tree, alone in zip(sums, fresh, strict=True)])
    yield figure(f"PSS of the tree, {2 * WORKERS} idle workers", "MB", doubled, at_most(160, 130))
    yield figure(f"PSS of the tree after {JOBS_BEFORE_MEMORY:,} jobs", "MB", used)


def death_to_successor(scene: Scene) -> Iterator[Figure]:
    """From the kill to the supervisor's record that the successor is forked, and that it is ready."""
    forked, ready = [], []
    with scene.server.fresh_database() as url, scene.house(url) as house:
        house.start(WORKERS)
        for _ in range(KILLS):
            offset, pid = house.log_size(), house.pids()["workers"][0]
            at = time.time()
            os.kill(pid, signal.SIGKILL)
            ready_at = wait_until(
                lambda offset=offset: house.worker_events("BecameReady", offset), 20, "a successor", every_seconds=0.1
            )[0][0]
            forked.append((house.worker_events("Forked", offset)[0][0] - at) * 1000)
            ready.append((ready_at - at) * 1000)
            house.ask("reset", name="default")  # else the crash loop's back-off would be measured
    yield figure("kill -9 of a worker to its successor forked", "ms", forked)
    yield figure("kill -9 of a worker to its successor ready", "ms", ready, at_most(60, 30))
    yield figure("  p90", "ms", ready, value=percentile(0.9))


def job_of_the_dead(scene: Scene) -> Iterator[Figure]:
    """From the kill of a worker with a job in hand to the start of the next attempt in another process."""
    seconds = []
    with scene.server.fresh_database() as url, scene.house(url) as house:
        house.start(WORKERS)
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(KILLS_WITH_A_JOB):
                path = house.folder / f"stamps-{number}"
                enqueue("bench.hold", {"file": str(path), "seconds": 120}, conn=connection)
                first = wait_until(lambda path=path: read_stamps(path), 20, "the job's start")[0]
                at = time.monotonic()
                os.kill(first.pid, signal.SIGKILL)
                again = wait_until(lambda path=path: _second(read_stamps(path)), 60, "the job's next start")
                if again.pid == first.pid:
                    raise TooLate("the job ran again in the process that was killed")
                seconds.append(again.at - at)
                house.ask("reset", name="default")
    yield figure("kill -9 with a job in hand to it running elsewhere", "s", seconds, at_most(1))


def status(scene: Scene) -> Iterator[Figure]:
    """The whole process: interpreter, imports, question, table."""
    with scene.server.fresh_database() as url, scene.house(url) as house:
        house.start(WORKERS)
        yield from statuses(house, "workerctl status, whole process")


def start_scale_stop(scene: Scene) -> Iterator[Figure]:
    """The life of a supervisor whose database is up already."""
    imports = [_import_seconds() for _ in range(3)]
    first, again, ups, stops, busy_stops = [], [], [], [], []
    for _ in range(scene.runs):
        with scene.server.fresh_database() as url, scene.house(url) as house:
            first.append(house.start(WORKERS))
            ups.append(_scale(house, 2 * WORKERS) * 1000)
            stops.append(house.command("stop"))
            again.append(house.start(WORKERS))
            with psycopg.connect(url, autocommit=True) as connection:
                path = str(house.folder / "stamps")
                enqueue_many([("bench.hold", {"file": path, "seconds": 1})] * WORKERS, conn=connection)
                wait_until(lambda house=house: len(read_stamps(house.folder / "stamps")) == WORKERS, 20, "jobs in hand")
                busy_stops.append(house.command("stop"))
                if not _is_empty(connection):
                    raise TooLate("a stop left jobs unfinished")
    import_seconds = sorted(imports)[1]
    yield figure("a fresh process that imports the same", "s", imports)
    yield figure(f"start to {WORKERS} workers ready, database up, schema to be made", "s", first)
    yield figure(
        f"start to {WORKERS} workers ready, database and schema there", "s", again, at_most(import_seconds + 0.25),
        note="the goal is the time of the imports + 250 ms",
    )  # fmt: skip
    yield figure(f"scale {WORKERS} -> {2 * WORKERS}, request to all ready", "ms", ups, at_most(150))
    yield figure("workerctl stop, idle, whole process", "s", stops)
    yield figure(f"workerctl stop, {WORKERS} jobs of 1 s just begun, all finish", "s", busy_stops, at_most(1.15))


def start_from_nothing(scene: Scene) -> Iterator[Figure]:
    """Empty home: PostgreSQL is initialised and started too; then the same home again."""
    first, second = [], []
    for _ in range(scene.runs):
        with scene.house(None) as house:
            first.append(house.start(WORKERS))
            house.command("stop")
            second.append(house.start(WORKERS))
    yield figure(f"start to {WORKERS} workers ready, empty home, embedded PostgreSQL", "s", first)
    yield figure("  again in the same home", "s", second)


STEPS = (memory, death_to_successor, job_of_the_dead, status, start_scale_stop, start_from_nothing, *MORE_STEPS)
PEER_STEPS = (against_peers, *PEER_JOB_STEPS)


@contextlib.contextmanager
def _fresh_processes(count: int) -> Iterator[list[int]]:
    """Processes that have imported what workers do, and wait."""
    code = f"{IMPORTS}\nprint('imported', flush=True)\ninput()"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _import_seconds() -> float:
    since = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - since


def _tree_mib(house: House) -> dict[str, float]:
    pids = house.pids()
    return {name: sum(_pss_mib(pid) for pid in pids[name]) for name in TREE}


def _pss_mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_full_info().pss) / MIB


def _scale(house: House, wanted: int) -> float:
    """Seconds from the request to the last new worker's record as ready."""
    offset, before = house.log_size(), len(house.pids()["workers"])
    at = time.time()
    house.ask("scale", pool="default", to=wanted)
    wait_until(lambda: len(house.worker_events("BecameReady", offset)) >= wanted - before, 30, f"{wanted} workers")
    return house.worker_events("BecameReady", offset)[-1][0] - at


def _second(stamps: list[Stamp]) -> Stamp | None:
    return stamps[1] if len(stamps) > 1 else None


def _is_empty(connection: psycopg.Connection) -> bool:
    return connection.execute("SELECT FROM workerctl.live LIMIT 1").fetchone() is None
