"""Processes, continued: idle CPU, lateness of the loop, many slots, memory limits, busy scale-down, logs, orphans."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
from benchmarks.house import House, Scene, TooLate, run_seconds, wait_until
from benchmarks.measure import Figure, at_least, at_most, figure, percentile
from benchmarks.stamps import read_stamps

from workerctl import enqueue_many
from workerctl.contract import ENV_CHANNEL, Channel
from workerctl.logs.collector import READ_BYTES
from workerctl.logs.lines import LineCutter
from workerctl.supervisor import events as ev
from workerctl.supervisor.apply import apply
from workerctl.supervisor.composition import Composition, Group, Node, Policy
from workerctl.supervisor.members import Work
from workerctl.supervisor.plan import judge
from workerctl.supervisor.roster import Roster, new_roster

WORKERS = 4
IDLE_SECONDS = 20.0
LOAD_SECONDS = 15.0
LINES = 200_000
LINE_BYTES = 120
PRINTS = """import sys
block = (b"x" * (int(sys.argv[2]) - 1) + b"\\n") * 1000
for _ in range(int(sys.argv[1]) // 1000):
    sys.stdout.buffer.write(block)
"""
ROUNDS = 200
STATUSES = 20


def idle_cpu(scene: Scene) -> Iterator[Figure]:
    """Share of one core while nothing happens."""
    with scene.server.fresh_database() as url, scene.house(url) as house:
        house.start(WORKERS)
        pids = house.pids()
        time.sleep(2.0)  # the start's own work is over
        shares: dict[str, list[float]] = {
            name: [] for name in ("supervisor", "workers", "agent", "collector", "template")
        }
        for _ in range(scene.runs):
            before = {name: sum(map(run_seconds, pids[name])) for name in shares}
            time.sleep(IDLE_SECONDS)
            for name, samples in shares.items():
                samples.append(100 * (sum(map(run_seconds, pids[name])) - before[name]) / IDLE_SECONDS)
    for name, samples in shares.items():
        target = at_most(0.2) if name == "supervisor" else ()
        yield figure(f"idle CPU, {WORKERS} workers: {name}", "%", samples, target)


def lateness(scene: Scene) -> Iterator[Figure]:
    """Whole answers to `status` while workers die, print, scale and work: never sooner than the loop comes round."""
    waits: list[float] = []
    with scene.server.fresh_database() as url, scene.house(url) as house:
        house.start(WORKERS)
        with psycopg.connect(url, autocommit=True) as connection:
            enqueue_many([("bench.noop", {})] * 20_000, conn=connection)
        deadline, step = time.monotonic() + LOAD_SECONDS, 0
        while time.monotonic() < deadline:
            step += 1
            if step % 40 == 0:
                os.kill(house.pids()["workers"][0], signal.SIGKILL)
            if step % 100 == 0:
                house.ask("reset", name="default")
                house.ask("scale", pool="default", to=WORKERS + step // 100 % 5)
            asked = time.perf_counter()
            house.ask("status")
            waits.append((time.perf_counter() - asked) * 1000)
            time.sleep(0.01)
    yield figure(
        "answer of the loop under crashes, scaling and 20,000 jobs, worst", "ms", waits, at_most(50), value=max
    )
    yield figure("  p99", "ms", waits, value=percentile(0.99))


def many_workers(scene: Scene) -> Iterator[Figure]:
    with scene.server.fresh_database() as url, scene.house(url) as house:
        house.set("WORKERCTL_CONNECTION_LIMIT", "400")
        yield figure("start to 64 workers ready", "s", [house.start(64)])
        yield from statuses(house, "workerctl status, whole process, 64 workers")


def statuses(house: House, name: str) -> Iterator[Figure]:
    took, cpu = [], []
    for _ in range(STATUSES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(house.command("status") * 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    yield figure(name, "ms", took, at_most(140))
    yield figure("  of it CPU time, which a busy machine stretches less", "ms", cpu)


def loop_round(_scene: Scene) -> Iterator[Figure]:
    """One heartbeat and one judgement, with every slot serving."""
    medians = {}
    for slots in (64, 256):
        roster, now = _serving(slots), 1000.0
        samples = []
        for number in range(ROUNDS):
            beat = ev.Heartbeat(now, "default", 1 + number % slots, 2 + number % slots, Work(jobs_running=number % 8))
            since = time.perf_counter()
            roster = apply(roster, beat)
            judge(roster, Policy(), now + 0.1)
            samples.append((time.perf_counter() - since) * 1000)
        found = figure(f"one round of the loop, {slots} slots", "ms", samples)
        medians[slots] = found.value
        yield found
    yield figure("  256 slots / 64 slots", "x", [medians[256] / medians[64]], at_most(4.4))


def memory_limit(scene: Scene) -> Iterator[Figure]:
    seconds = []
    for _ in range(scene.runs):
        with scene.server.fresh_database() as url, scene.house(url) as house:
            house.set("WORKERCTL_SUPERVISOR__MAX_MEMORY", "120MB")
            house.set("WORKERCTL_SUPERVISOR__MAX_MEMORY_HARD", "1GB")
            house.start(1)
            path, offset = house.folder / "stamps", house.log_size()
            with psycopg.connect(url, autocommit=True) as connection:
                enqueue_many([("bench.fatten", {"file": str(path), "mebibytes": 150, "seconds": 12})], conn=connection)
                crossed = wait_until(lambda path=path: read_stamps(path), 20, "the limit is crossed")[0]
                wait_until(
                    lambda house=house, offset=offset: house.worker_events("BecameReady", offset), 30, "a successor"
                )
                seconds.append(time.monotonic() - crossed.at)
                wait_until(lambda connection=connection: _is_empty(connection), 30, "the job in hand")
                [attempt] = connection.execute("SELECT max(attempt) FROM workerctl.history").fetchone() or (0,)
                if attempt != 1:
                    raise TooLate("the job in hand was cut")
    yield figure("memory limit crossed to successor ready; the job in hand finishes", "s", seconds, at_most(5))


def scale_down(scene: Scene) -> Iterator[Figure]:
    seconds = []
    for _ in range(scene.runs):
        with scene.server.fresh_database() as url, scene.house(url, concurrency=1) as house:
            house.start(8)
            path = house.folder / "stamps"
            with psycopg.connect(url, autocommit=True) as connection:
                enqueue_many([("bench.hold", {"file": str(path), "seconds": 1})] * 8, conn=connection)
                wait_until(lambda path=path: len(read_stamps(path)) == 8, 20, "jobs in hand")
                since = time.monotonic()
                house.ask("scale", pool="default", to=2)
                wait_until(lambda house=house: len(house.pids()["workers"]) == 2, 30, "two workers")
                seconds.append(time.monotonic() - since)
                if not _is_empty(connection):
                    raise TooLate("a scale-down left a job")
    yield figure("scale 8 -> 2, jobs of 1 s in hand, all finish", "s", seconds, at_most(1.2))


def logs(scene: Scene) -> Iterator[Figure]:
    """The collector as it is: time, sequence number and stream before each line, on a disk. And without these columns,
    in which form nothing is ever written: whole lines cut out of the pipe's blocks, and no more.
    """
    times = max(3, scene.runs)
    raw = [LINES / _cut(scene.folder) for _ in range(times)]
    name = f"{LINES:,} lines of {LINE_BYTES} bytes, none lost"
    yield figure(f"{name}: cut out and written raw", "lines/s", raw, at_least(1_500_000))
    rates = [LINES / _collected(scene.folder) for _ in range(times)]
    yield figure(f"{name}: the collector, with time and number", "lines/s", rates, at_least(800_000))


def orphans(scene: Scene) -> Iterator[Figure]:
    """SIGKILL of an unwrapped supervisor, then `start`: who is there that should not be."""
    left, workers, seconds = [], [], []
    for _ in range(scene.runs):
        with scene.server.fresh_database() as url, scene.house(url) as house:
            house.start(WORKERS)
            pids = house.pids()
            old = [pid for found in pids.values() for pid in found]
            os.kill(pids["supervisor"][0], signal.SIGKILL)
            seconds.append(house.start(WORKERS))
            left.append(float(sum(_runs(pid) for pid in old)))
            workers.append(float(len(house.pids()["workers"])))
    yield figure("supervisor killed and started again: processes of the first set", "", left, at_most(0))
    yield figure("  workers", "", workers, at_most(WORKERS))
    yield figure("  start, the old set's leaving included", "s", seconds)


STEPS = (idle_cpu, lateness, many_workers, loop_round, memory_limit, scale_down, logs, orphans)


def _serving(slots: int) -> Roster:
    groups = (Group("template", "template", ("x",), role=True),
              Group("default", "pool", template="template", after=("template",), instances=slots))  # fmt: skip
    composition = Composition("/home", Node("n" * 36, "box", 4), groups, "0", policy=Policy(instance_limit=slots))
    roster = apply(new_roster(composition, {}, 0.0), ev.GotAlone(0.0))
    roster = apply(roster, ev.Spawned(1.0, "template", 1, 1, 10))
    roster = apply(roster, ev.BecameReady(1.0, "template", 1, 1))
    for number in range(1, slots + 1):
        who = ("default", number, number + 1)
        roster = apply(roster, ev.Spawned(2.0, *who, 10 + number, f"n.{number}"))
        roster = apply(roster, ev.Went(2.0, *who))
        roster = apply(roster, ev.BecameReady(3.0, *who))
        roster = apply(roster, ev.Heartbeat(1000.0, *who, Work()))
    return apply(roster, ev.Booted(4.0))


def _collected(folder: Path) -> float:
    """Seconds from the first byte to the collector's word that the stream has ended."""
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        ours, theirs = Channel.pair()
        os.set_inheritable(theirs.fileno(), True)
        process = subprocess.Popen(
            [sys.executable, "-m", "workerctl.logs", "--directory", directory, "--max-size", "999999999",
             "--keep", "1"],
            pass_fds=(theirs.fileno(),), env=os.environ | {ENV_CHANNEL: str(theirs.fileno())},
        )  # fmt: skip
        theirs.close()
        try:
            _until_said(ours, "ready")
            reading, writing = os.pipe()
            ours.send({"type": "follow", "stream": "1.out", "group": "default", "slot": 1, "serial": 1, "name": "out"},
                      (reading,))  # fmt: skip
            os.close(reading)
            since = time.perf_counter()
            writer = threading.Thread(target=_write_lines, args=(writing,))
            writer.start()
            _until_said(ours, "stream-ended")
            seconds = time.perf_counter() - since
            writer.join()
        finally:
            process.terminate()
            process.wait(timeout=20)
        written = (Path(directory) / "default-1.out.log").read_bytes().count(b"\n")
        if written != LINES:
            raise TooLate(f"{LINES - written} lines are missing")
        return seconds


def _cut(folder: Path) -> float:
    """Seconds from the first byte to the last line on the disk."""
    cutter, path = LineCutter(), folder / "raw.log"
    command = [sys.executable, "-c", PRINTS, str(LINES), str(LINE_BYTES)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as writer, path.open("wb", buffering=0) as file:
        assert writer.stdout is not None
        read = writer.stdout.read(READ_BYTES)
        since = time.perf_counter()
        while read:
            file.write(cutter.feed(read))
            read = writer.stdout.read(READ_BYTES)
        seconds = time.perf_counter() - since
    written = path.read_bytes().count(b"\n")
    path.unlink()
    if written != LINES:
        raise TooLate(f"{LINES - written} lines are missing")
    return seconds


def _write_lines(descriptor: int) -> None:
    block = (b"x" * (LINE_BYTES - 1) + b"\n") * 1000
    with os.fdopen(descriptor, "wb", buffering=0) as pipe:
        for _ in range(LINES // 1000):
            rest = memoryview(block)
            while rest:
                rest = rest[pipe.write(rest) or 0 :]


def _until_said(channel: Channel, kind: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        select.select([channel], [], [], 1.0)
        if any(message["type"] == kind for message in channel.receive()):
            return
    raise TooLate(f"the collector did not say {kind!r}")


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _is_empty(connection: psycopg.Connection) -> bool:
    return connection.execute("SELECT FROM workerctl.live LIMIT 1").fetchone() is None
