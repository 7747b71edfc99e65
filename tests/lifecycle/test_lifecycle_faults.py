"""Faults rehearsed in one standing house: workers that misbehave, and blows in every phase of theirs."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from lifecycle_house import CONFIG, House, until
from lifecycle_ledger import Ledger, stands

from workerctl.contract import WorkerctlError

WORKERS = 3
STAGE = CONFIG.replace('["kinds"]', '["kinds", "bad"]') + '[supervisor]\nstop_timeout = "3s"\n'


@pytest.fixture(scope="module")
def _stage(build_for_module: House) -> Iterator[House]:
    build_for_module.configure(STAGE)
    build_for_module.start(WORKERS)
    yield build_for_module


@pytest.fixture
def stage(_stage: House) -> Iterator[House]:
    """A running house of three workers, each test's faults forgiven before the next."""
    _stage.gate.unlink(missing_ok=True)
    _stage.effects.unlink(missing_ok=True)
    yield _stage
    _stage.open_gate()
    _stage.ok("reset", "default")
    stands(_stage, WORKERS)


def _begun(house: House, kind: str, **more: object) -> tuple[int, int]:
    """A job of this kind that has begun, and the pid of its worker."""
    job = house.enqueue(kind, file=str(house.effects), gate=str(house.gate), **more)
    [line] = until(lambda: house.noted("began", job), what=f"{kind} begins")
    return job, int(line[3])


def _restart(house: House) -> None:
    """Every worker is another one."""
    before = {worker["pid"] for worker in house.workers()}
    house.ok("restart", "default")
    until(lambda: not before & {worker["pid"] for worker in house.workers()}, what="all are replaced")


@pytest.mark.parametrize("phase", ["ready", "busy", "draining", "starting"])
def test_a_worker_that_is_killed_in_any_phase_costs_no_job(stage: House, phase: str) -> None:
    ledger = Ledger(stage)
    ledger.enqueue(20, seconds=0.05)
    job, pid = _begun(stage, "gated")
    if phase == "ready":
        pid = next(worker["pid"] for worker in stage.ready() if worker["pid"] != pid)
    if phase == "draining":
        stage.ok("restart", "default")
        until(lambda: "DrainSent" in stage.log() and f" pid={pid}" in stage.log(), what="it drains")
    if phase == "starting":
        pid = _one_more(stage)
    os.kill(pid, signal.SIGKILL)
    until(lambda: [end for end in stage.exits() if end["pid"] == pid])
    stage.open_gate()
    ledger.settled()
    ended = stage.until_status(job, "succeeded")
    assert ended["attempt"] == (2 if phase in ("busy", "draining") else 1)
    assert len(stage.noted("ended", job)) == 1
    stage.ok("scale", WORKERS, "--wait")


def _one_more(house: House) -> int:
    """The pid of a worker that was asked for now, whatever it has come to."""

    def forked() -> list[str]:
        return [line for line in house.log().splitlines() if " event Forked slot=default/" in line]

    before = len(forked())
    house.ok("scale", "+1")
    line = until(lambda: forked()[before:], what="it is forked")[0]
    return int(line.rpartition("pid=")[2])


def test_a_stopped_supervisor_stops_no_job_and_hangs_nobody(stage: House) -> None:
    ledger = Ledger(stage)
    pids = {worker["pid"] for worker in stage.ready()}
    supervisor = stage.supervisor_pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        began = time.monotonic()
        ledger.enqueue(30, seconds=0.05)
        ledger.settled(20)
        with pytest.raises(WorkerctlError, match=r"did not answer within 5 s"):
            stage.status()
        time.sleep(max(0.0, began + 2.5 - time.monotonic()))  # longer than it may be late without noticing
    finally:
        os.kill(supervisor, signal.SIGCONT)
    until(lambda: "event Slept" in stage.log())
    assert {worker["pid"] for worker in stage.ready()} == pids


def test_what_a_worker_left_behind_dies_with_it_and_holds_no_stream(stage: House) -> None:
    job = stage.enqueue("bad.grandchild", file=str(stage.effects))
    [line] = until(lambda: stage.noted("forked", job))
    stage.until_status(job, "succeeded")
    worker = psutil.Process(int(line[3]))
    left = until(lambda: found if len(found := worker.children(recursive=True)) >= 3 else None)
    worker.kill()
    until(lambda: not [child for child in left if _lives(child)], 5, what="its children end")
    stands(stage, WORKERS)


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_a_line_of_ten_megabytes_is_cut_and_half_a_line_before_a_kill_is_kept(stage: House) -> None:
    job = stage.enqueue("bad.print", bytes=10 << 20)
    assert stage.until_status(job, "succeeded")["deaths"] == 1
    until(lambda: "half a line and now it is whole" in stage.ok("logs", "--out", "-n", 10))
    lines = [line for line in stage.ok("logs", "--out", "-n", 20).splitlines() if len(line) < 1000]
    texts = [line.rpartition("  ")[2] for line in lines]
    assert sum("half a line and no" in text for text in texts) == 2  # the last words of the first attempt too
    assert sum("after the long line" in text for text in texts) == 2
    longest = max(map(len, stage.ok("logs", "--out", "-n", 20).splitlines()))
    assert 1 << 20 <= longest < (1 << 20) + 200


def test_a_gigabyte_that_comes_and_goes_costs_nobody_anything(stage: House) -> None:
    if psutil.virtual_memory().available < 2 << 30:
        pytest.skip("less than 2 GB of memory are free")
    before = {worker["pid"] for worker in stage.ready()}
    job = stage.enqueue("bad.spike", file=str(stage.effects), mebibytes=1024)
    ended = stage.until_status(job, "succeeded")
    [began, done] = [float(stage.noted(word, job)[-1][4]) for word in ("spiking", "spiked")]
    if done - began > 2.0 or os.getloadavg()[0] > 4 * (os.cpu_count() or 1):
        pytest.skip("this machine is so busy that a spike lasts over two samples")
    assert ended["attempt"] == 1
    assert {worker["pid"] for worker in stage.ready()} == before


def test_what_a_job_leaves_for_the_exit_neither_ends_nor_holds_its_worker(stage: House) -> None:
    job = stage.enqueue("bad.atexit", file=str(stage.effects))
    [[_, _, _, pid, _]] = until(lambda: stage.noted("registered", job))
    stage.until_status(job, "succeeded")
    _restart(stage)
    [end] = until(lambda: [end for end in stage.exits() if end["pid"] == int(pid)], 15)
    assert (end["exit_code"], end["cause"]) == (0, "asked")


def test_sys_exit_in_a_job_is_that_jobs_failure(stage: House) -> None:
    before = {worker["pid"] for worker in stage.ready()}
    ended = stage.until_status(stage.enqueue("bad.exit"), "dead")
    assert "SystemExit" in ended["error"]
    assert {worker["pid"] for worker in stage.ready()} == before


def test_signals_that_a_module_ignores_or_blocks_end_no_template_and_no_drain(stage: House) -> None:
    _restart(stage)  # by SIGTERM, which the module blocks; the template waits for children it ignores
    assert not [end for end in stage.exits("template") if end["cause"] == "crash"]


def test_a_job_that_closes_or_replaces_the_standard_streams_silences_nobody_else(stage: House) -> None:
    before = {worker["pid"] for worker in stage.ready()}
    for how in ("close", "replace"):
        jobs = stage.enqueue_all("bad.streams", [{"how": how}] * 6)
        for job in jobs:
            assert stage.until_status(job, "dead")["error"].startswith("ValueError: no streams")
        command = ("logs", "--job", str(jobs[0]))
        until(lambda command=command: "ValueError: no streams" in stage.ok(*command), what="its traceback")
    stage.until_status(stage.enqueue("bad.exit"), "dead")
    assert {worker["pid"] for worker in stage.ready()} == before
    _restart(stage)


def test_what_a_job_says_that_cannot_be_stored_costs_no_worker_and_no_word_of_others(stage: House) -> None:
    before = {worker["pid"] for worker in stage.ready()}
    jobs = stage.enqueue_all("bad.words", [{}] * 12)
    for job in jobs:
        ended = stage.until_status(job, "dead")
        assert ended["error"].startswith("ValueError: no such file: ?\ufffd")
        assert (ended["failures"], ended["deaths"]) == (3, 0)
    until(lambda: len(_log_of(stage, jobs)) == 3 * len(jobs), what="an entry of each attempt")
    assert {worker["pid"] for worker in stage.ready()} == before


def _log_of(house: House, jobs: list[int]) -> list[str]:
    with house.database() as connection:
        rows = connection.execute("SELECT message FROM workerctl.execution_log WHERE job_id = ANY (%s)", [jobs])
        return [message for (message,) in rows]


def test_a_worker_that_cannot_hear_term_is_killed_at_its_deadline_and_its_job_runs_again(stage: House) -> None:
    job, pid = _begun(stage, "bad.deaf")
    _restart(stage)
    [end] = until(lambda: [end for end in stage.exits() if end["pid"] == pid], 15)
    assert (end["signal"], end["cause"]) == (9, "asked")
    ended = stage.until_status(job, "succeeded")
    assert (ended["attempt"], ended["failures"]) == (2, 0)


def test_deleted_logs_are_written_anew(stage: House) -> None:
    for path in (stage.home / "logs").glob("*.log"):
        path.unlink()
    stage.until_status(stage.enqueue("talk", words="persimmon"), "succeeded")
    until(lambda: "out persimmon" in stage.ok("logs", "--out"))
    stage.ok("reset", "default")
    until(lambda: "event ResetAsked" in stage.log(), 5, what="the supervisor's log is there again")


def test_without_descriptors_in_the_supervisor_jobs_go_on_and_the_dead_come_back(stage: House) -> None:
    ledger = Ledger(stage)
    pid = stage.supervisor_pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), hard))
    try:
        for worker in stage.ready()[:2]:
            os.kill(worker["pid"], signal.SIGKILL)
        ledger.enqueue(20, seconds=0.02)
        ledger.settled(20)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    stands(stage, WORKERS)


def test_a_job_that_eats_its_workers_descriptors_takes_no_other_job_with_it(stage: House) -> None:
    ledger = Ledger(stage)
    _, pid = _begun(stage, "bad.descriptors")
    ledger.enqueue(20, seconds=0.02)
    try:
        ledger.settled(40)
    finally:
        stage.open_gate()
        os.kill(pid, signal.SIGKILL)
