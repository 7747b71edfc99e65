"""What the machine does to a house: full disks and refused forks; and what is noticed late."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from lifecycle_house import CONFIG, House, until
from lifecycle_ledger import Ledger, stands
from lifecycle_users import SOMEBODY, as_somebody, why_nobody_else

from workerctl.contract import NotRunning
from workerctl.supervisor.client import request
from workerctl.supervisor.lock import is_held

pytestmark = pytest.mark.long

MIB = 1 << 20
BAD = CONFIG.replace('["kinds"]', '["kinds", "bad"]')


def test_whatever_is_stopped_for_ever_or_hangs_in_c_is_replaced_and_all_jobs_are_done(
    build: Callable[..., House],
) -> None:
    house = build(BAD)
    house.start(3)
    ledger = Ledger(house)
    hanging = house.enqueue("bad.hang", file=str(house.effects), gate=str(house.gate))
    [line] = until(lambda: house.noted("began", hanging))
    stopped = {name: house.role(name) for name in ("agent", "collector", "template")}
    stopped["worker"] = next(worker["pid"] for worker in house.ready() if worker["pid"] != int(line[3]))
    for pid in stopped.values():
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
    for _ in range(10):
        ledger.enqueue(10, seconds=0.1)
        house.enqueue("talk", words="x" * 60_000)  # a pipe that nobody reads would be full at once
    ended = house.until_status(hanging, "succeeded", 60)
    assert (ended["attempt"], ended["deaths"]) == (2, 1)
    ledger.settled(90)
    for name, pid in stopped.items():
        until(lambda pid=pid: not _runs(pid), 60, what=f"the stopped {name} is gone")
    stands(house, 3)
    groups = ("default", "agent", "collector", "template")
    causes = {end["pid"]: end["cause"] for group in groups for end in house.exits(group)}
    assert {causes[pid] for pid in stopped.values()} == {"hung"}
    assert causes[int(line[3])] == "hung"
    told = house.ok("why", "default")
    assert "hang_in_c" in told + house.ok("logs", "--err", "-n", 200), "where it hung is not told"
    house.ok("stop")
    house.assert_nothing_runs()


def _runs(pid: int | None) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_a_worker_that_leaks_makes_way_again_and_again_and_every_job_is_done_on_its_first_attempt(
    build: Callable[..., House],
) -> None:
    house = build(BAD + '[supervisor]\nmax_memory = "100MB"\nmax_memory_hard = "1GB"\n')
    house.start(1)
    ledger = Ledger(house)
    house.open_gate()
    leaks = [
        house.enqueue("bad.leak", file=str(house.effects), gate=str(house.gate), mebibytes=40, pause=0.1)
        for _ in range(4)
    ]
    ledger.enqueue(100, seconds=0.05)
    assert set(ledger.settled().values()) == {1}
    for job in leaks:
        assert house.until_status(job, "succeeded")["attempt"] == 1
    ends = until(lambda: [end for end in house.exits() if end["cause"] == "memory-soft"])
    assert {end["exit_code"] for end in ends} == {0}
    assert ends[0]["memory_curve_mb"][-1] > ends[0]["memory_curve_mb"][0]
    stands(house, 1)


# The disk


@pytest.fixture
def small_disk(build: Callable[..., House]) -> Iterator[Callable[[House, str], None]]:
    """Puts a house's home, or a folder below it, on a disk of its own: `small_disk(house, size)`."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted: list[tuple[Path, Path]] = []

    def put(house: House, size: str, below: str = "") -> None:
        home, kept = house.home / below, house.folder / "kept"
        shutil.move(home, kept)
        home.mkdir(mode=0o700)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "small", home], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"no disk can be mounted here: {done.stderr.decode()}")
        mounted.append((house.home, home))
        subprocess.run(["cp", "-a", f"{kept}/.", home], check=True)  # with the folder's own owner and mode
        shutil.rmtree(kept)

    yield put
    for home, disk in mounted:
        (disk / "ballast").unlink(missing_ok=True)
        with contextlib.suppress(NotRunning):
            request(home, "stop", now=True)
            until(lambda home=home: not is_held(home / "run"), 20, what="the supervisor ends before its disk does")
        subprocess.run(["umount", "-l", disk], check=False)


def _lines_of_the_server(house: House, pattern: str) -> str:
    return house.ok("logs", "postgres", "--grep", pattern, "-n", "400")


def state(house: House) -> str:
    return str(house.status()["supervisor"]["state"])


def _fill(house: House) -> Path:
    """Leave no byte free; the file that takes them."""
    path = house.home / "ballast"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * MIB)
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"x")
    return path


def test_a_full_disk_below_logs_and_state_stops_no_job(
    house: House, database_url: str, small_disk: Callable[[House, str], None]
) -> None:
    shutil.rmtree(house.home / "postgres", ignore_errors=True)  # the database is elsewhere
    small_disk(house, "12m")
    house.environ["DATABASE_URL"] = database_url
    house.start(2)
    ledger = Ledger(house)
    ballast = _fill(house)
    ledger.enqueue(20, seconds=0.05)
    for number in range(200):
        house.enqueue("talk", words=f"{number} " + "y" * 2000)
    os.kill(house.ready()[0]["pid"], signal.SIGKILL)
    house.ok("scale", "3", "--wait")
    ledger.settled()
    stands(house, 3)
    ballast.unlink()
    house.until_status(house.enqueue("talk", words="room again"), "succeeded")
    until(lambda: "out room again" in house.ok("logs", "--out", "-n", 20))
    assert "lines were lost here" in house.ok("logs", "-n", 3000)
    house.ok("scale", "2", "--wait")
    house.ok("stop")
    house.start(2)
    stands(house, 2)


def test_a_full_disk_below_the_embedded_database_loses_no_job(
    house: House, small_disk: Callable[[House, str], None]
) -> None:
    small_disk(house, "160m")
    house.start(2)
    ledger = Ledger(house)
    ledger.enqueue(50, seconds=0.05)
    ballast = _fill(house)
    with contextlib.suppress(psycopg.Error):
        while True:  # what the server still has room for is acknowledged, and must be done
            ledger.enqueue(2000, seconds=0.0)
    refused = until(lambda: house.run("enqueue", "mark", f"file={house.effects}").stderr, what="one more is refused")
    assert "No space left on device" in refused or "does not answer" in refused, refused
    assert refused.count("\n") == 1, refused
    ballast.unlink()
    until(lambda: house.run("enqueue", "add", "a=1").returncode == 0, 60, what="jobs are taken again")
    ledger.settled()
    stands(house, 2)


def test_a_full_disk_below_the_write_ahead_log_alone_loses_no_job(
    house: House, small_disk: Callable[..., None]
) -> None:
    small_disk(house, "56m", "postgres/data/pg_wal")
    house.start(2)
    ledger = Ledger(house)
    ledger.enqueue(50, seconds=0.05)
    before = [worker["pid"] for worker in house.ready()]
    with contextlib.suppress(psycopg.Error):
        while True:  # the server ends itself where it cannot write what it must
            ledger.enqueue(2000)
    refused = until(lambda: house.run("enqueue", "mark", f"file={house.effects}").stderr, what="one more is refused")
    assert refused.count("\n") == 1, refused
    until(lambda: state(house) == "waiting for database", what="status says what it waits for")
    assert "No space left on device" in until(lambda: _lines_of_the_server(house, "FATAL|PANIC"))
    wal = house.home / "postgres" / "data" / "pg_wal"
    subprocess.run(["mount", "-o", "remount,size=512m", wal], check=True)
    until(lambda: house.run("enqueue", "add", "a=1").returncode == 0, 60, what="jobs are taken again")
    ledger.settled(120)
    stands(house, 2)
    assert [worker["pid"] for worker in house.ready()] == before, "no worker was replaced"


# Processes


def test_refused_forks_of_an_ordinary_user_cost_no_crash_budget_and_end_with_the_shortage(fresh_house: House) -> None:
    reason = why_nobody_else()
    if reason:
        pytest.skip(reason)
    house = fresh_house
    os.chown(house.folder, SOMEBODY, SOMEBODY)

    def ok(*arguments: object) -> str:
        done = as_somebody(house, *arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stderr}{house.log()}"
        return done.stdout

    ok("start", "--instances", 2)
    ledger = Ledger(house)
    templates = [process.pid for process in house.titled("template")]
    allowed = _limit_processes(templates, "1")
    os.kill(house.ready()[0]["pid"], signal.SIGKILL)
    until(lambda: house.log().count(" SpawnFailed ") >= 3, what="forks are refused")
    ledger.enqueue(10, seconds=0.02)
    ledger.settled(20)
    assert [worker["phase"] for worker in house.status()["pools"][0]["workers"]].count("parked") == 0
    _limit_processes(templates, allowed)
    until(lambda: len(house.ready()) == 2, what="the second worker is back")
    assert "Resource temporarily unavailable" in house.log() or "could not fork" in house.log()
    ok("stop")


def _limit_processes(pids: list[int], limit: str) -> str:
    """What root may not change here their owner may: the soft limit. The one before."""
    lines = Path(f"/proc/{pids[0]}/limits").read_text().splitlines()
    before = next(line.split()[2] for line in lines if line.startswith("Max processes"))
    for pid in pids:
        command = ["prlimit", "--pid", str(pid), f"--nproc={limit}:"]
        subprocess.run(command, user=SOMEBODY, group=SOMEBODY, cwd="/", check=True)
    return before


def test_a_worker_that_crashes_at_one_second_of_uptime_for_ever_is_parked_and_probed(
    build: Callable[..., House],
) -> None:
    """PM2's guard counts only what dies within its first second."""
    house = build()
    house.start(2)
    begun: dict[int, float] = {}
    deadline = time.monotonic() + 60
    while house.status()["pools"][0]["workers"][0]["phase"] != "parked":
        assert time.monotonic() < deadline
        worker = house.status()["pools"][0]["workers"][0]
        if worker["phase"] == "ready":
            begun.setdefault(worker["pid"], time.monotonic())
            if time.monotonic() - begun[worker["pid"]] > 1.1:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker["pid"], signal.SIGKILL)
        time.sleep(0.02)
    assert len(begun) == 5
    assert house.status()["supervisor"]["state"] == "degraded"
    ledger = Ledger(house)
    ledger.enqueue(5)
    ledger.settled(10)  # the other worker serves
    house.ok("reset", "default")
    stands(house, 2)
