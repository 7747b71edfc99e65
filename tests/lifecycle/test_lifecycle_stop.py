"""Stopping, restarting and scaling while jobs run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from lifecycle_house import CONFIG, HURRIED_SECONDS, House, until


def test_stop_lets_jobs_in_flight_finish(house: House) -> None:
    house.start(2)
    jobs = [house.gated(), house.gated("gated.thread")]
    stop = house.launch("stop")
    until(lambda: house.status()["supervisor"]["state"] == "stopping")
    assert stop.poll() is None
    house.open_gate()
    stop.communicate(timeout=20)
    assert stop.returncode == 0
    house.assert_nothing_runs()
    house.start(1)
    for job in jobs:
        ended = house.job(job)
        assert (ended["status"], ended["attempt"], ended["failures"]) == ("succeeded", 1, 0)


@pytest.mark.parametrize("kind", ["gated", "gated.thread"])
def test_a_job_longer_than_the_stop_timeout_is_handed_back_without_a_death(
    build: Callable[..., House], kind: str
) -> None:
    house = build(CONFIG + '[supervisor]\nstop_timeout = "2s"\n')
    house.start(1)
    job = house.gated(kind)
    began = time.monotonic()
    house.ok("stop")
    assert time.monotonic() - began < 20
    house.assert_nothing_runs()
    house.start(1)
    until(lambda: len(house.noted("began", job)) == 2)
    house.open_gate()
    ended = house.until_status(job, "succeeded")
    assert (ended["attempt"], ended["failures"], ended["deaths"]) == (2, 0, 0)


def test_stop_now_does_not_wait_for_jobs(house: House) -> None:
    house.start(2)
    job = house.gated()
    began = time.monotonic()
    house.ok("stop", "--now")
    assert time.monotonic() - began < HURRIED_SECONDS
    house.assert_nothing_runs()
    house.start(1)
    house.open_gate()
    ended = house.until_status(job, "succeeded")
    assert (ended["attempt"], ended["failures"]) == (2, 0)


def test_a_second_sigterm_hurries(house: House) -> None:
    house.start(2)
    house.gated("gated.thread")
    pid = house.supervisor_pid
    os.kill(pid, signal.SIGTERM)
    until(lambda: house.status()["supervisor"]["state"] == "stopping")
    began = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    until(lambda: not house.is_running())
    assert time.monotonic() - began < HURRIED_SECONDS
    house.assert_nothing_runs()


def test_an_idle_set_stops_at_once(house: House) -> None:
    house.start(2)
    began = time.monotonic()
    house.ok("stop")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "arguments", [("stop",), ("scale", 3), ("status",), ("reset", "default"), ("restart", "default")]
)
def test_with_nothing_running_the_answer_is_exit_code_4(fresh_house: House, arguments: tuple[str, ...]) -> None:
    assert "no supervisor runs" in fresh_house.fails(4, *arguments)
    assert not fresh_house.home.exists()


def test_jobs_of_a_stopped_set_are_not_running_instead_of_unreachable(house: House) -> None:
    house.start(0)
    house.ok("stop")
    for command in (["enqueue", "add", "a=1"], ["jobs", "list"], ["queue", "list"]):
        line = house.fails(4, *command)
        assert str(house.home) in line
        assert "workerctl start" in line


def test_restart_is_a_new_supervisor_with_the_same_workers_and_jobs(house: House) -> None:
    house.start(2)
    first = house.supervisor_pid
    done = house.until_status(house.enqueue("add", a=1), "succeeded")
    house.ok("restart")
    assert house.supervisor_pid != first
    assert len(house.ready()) == 2
    assert house.job(done["id"])["status"] == "succeeded"


def test_restart_of_a_pool_replaces_its_workers_and_loses_no_job(house: House) -> None:
    house.start(2)
    pids = {worker["pid"] for worker in house.workers()}
    job = house.gated()
    house.ok("restart", "default")
    house.open_gate()
    until(lambda: not pids & {worker["pid"] for worker in house.workers()}, what="both are replaced")
    house.until_ready(2)
    ended = house.until_status(job, "succeeded")
    assert (ended["attempt"], ended["deaths"]) == (1, 0)


def test_scale_goes_up_down_and_relative_and_is_kept_over_a_restart(house: House) -> None:
    house.start(1)
    for words, count in (("3", 3), ("+1", 4), ("-2", 2), ("default=1", 1), ("default=+1", 2), ("0", 0), ("3", 3)):
        assert f"default: {count} worker{'s' * (count != 1)}\n" in house.run("scale", words, "--wait").stderr
        assert len(house.ready()) == count
        assert len(house.workers()) == count
    house.ok("stop")
    house.ok("start")
    assert len(house.ready()) == 3
    house.ok("stop")
    house.start(1)
    assert len(house.ready()) == 1


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [("many", 2, "N, +N, -N or POOL=N"), ("", 2, "N, +N, -N or POOL=N"), ("-9", 1, "0 is the least"),
     ("600", 1, "512 is the most"), ("nopool=2", 1, "no pool is named 'nopool'"), ("170", 1, "connection_limit is")],
)  # fmt: skip
def test_a_scale_that_cannot_be_is_refused_and_changes_nothing(
    running: House, words: str, code: int, told: str
) -> None:
    assert told in running.fails(code, "scale", words)
    assert len(running.workers()) == 2


def test_scaling_down_lets_the_busy_worker_stay(house: House) -> None:
    house.start(3)
    job = house.gated()
    [[_, _, _, busy, _]] = house.noted("began", job)
    until(lambda: [worker["pid"] for worker in house.workers() if worker["jobs_running"]] == [int(busy)])
    house.ok("scale", "1", "--wait")
    assert [worker["pid"] for worker in house.ready()] == [int(busy)]
    house.open_gate()
    assert house.until_status(job, "succeeded")["attempt"] == 1


def test_scaling_to_zero_finishes_what_runs_and_leaves_the_rest_pending(house: House) -> None:
    house.start(1)
    job = house.gated()
    house.ok("scale", "0")
    later = house.enqueue("add", a=1)
    house.open_gate()
    until(lambda: not house.workers())
    assert house.job(job)["status"] == "succeeded"
    assert house.job(later)["status"] == "pending"
    house.ok("scale", "1", "--wait")
    house.until_status(later, "succeeded", 5)
