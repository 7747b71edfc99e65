"""Processes that are stopped by SIGSTOP where it is least convenient: every wait for them has a deadline."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from lifecycle_house import CONFIG, House, until
from lifecycle_ledger import Ledger, stands

pytestmark = pytest.mark.long

BOOT_SECONDS = 8
STOP_SECONDS = 3
SLACK_SECONDS = 12.0  # PostgreSQL, agent and collector have to leave as well, beside other tests


def _stop(pid: int | None) -> int:
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return pid


def test_a_worker_that_is_stopped_while_it_starts_ends_at_its_boot_deadline(build: Callable[..., House]) -> None:
    house = build(f'{CONFIG}[supervisor]\nboot_timeout = "{BOOT_SECONDS}s"\n')
    house.start(2)
    ledger = Ledger(house)
    before = {worker["pid"] for worker in house.ready()}
    with house.database() as connection, connection.transaction():
        connection.execute("LOCK TABLE workerctl.worker IN SHARE ROW EXCLUSIVE MODE")  # nobody can register
        house.ok("scale", "3")
        [starting] = until(lambda: [worker for worker in house.workers() if worker["pid"] not in before])
        stopped = _stop(starting["pid"])
    assert starting["phase"] == "starting"
    ledger.enqueue(20, seconds=0.05)
    ledger.settled()
    [end] = until(lambda: [end for end in house.exits() if end["pid"] == stopped])
    assert (end["cause"], end["signal"]) == ("boot-timeout", signal.SIGKILL)
    assert BOOT_SECONDS <= end["uptime_seconds"] < BOOT_SECONDS + SLACK_SECONDS
    stands(house, 3)
    assert before <= {worker["pid"] for worker in house.ready()}


@pytest.mark.parametrize("command", ["scale 0", "stop"])
def test_a_worker_that_is_stopped_while_it_drains_is_killed_at_the_deadline_and_its_job_runs_again(
    build: Callable[..., House], command: str
) -> None:
    house = build(f'{CONFIG}[supervisor]\nstop_timeout = "{STOP_SECONDS}s"\n')
    house.start(2)
    job = house.gated()
    pid = int(house.noted("began", job)[0][3])
    began = time.monotonic()
    asked = house.launch(*command.split())
    until(lambda: [worker for worker in house.workers() if (worker["pid"], worker["phase"]) == (pid, "draining")])
    _stop(pid)
    [end] = until(lambda: [end for end in house.exits() if end["pid"] == pid])
    assert (end["cause"], end["signal"]) == ("scaled" if "scale" in command else "asked", signal.SIGKILL)
    asked.communicate(timeout=STOP_SECONDS + SLACK_SECONDS)
    assert asked.returncode == 0
    assert time.monotonic() - began < STOP_SECONDS + SLACK_SECONDS
    house.open_gate()
    if command == "stop":
        house.assert_nothing_runs()
        house.start(2)
    else:
        house.ok("scale", 2)
    ended = house.until_status(job, "succeeded")
    assert (ended["attempt"], len(house.noted("ended", job))) == (2, 1)


def test_a_worker_killed_at_its_deadline_speaks_against_no_job_though_its_agent_dies_too(
    build: Callable[..., House],
) -> None:
    house = build(f'{CONFIG}[supervisor]\nstop_timeout = "{STOP_SECONDS}s"\n')
    house.start(2)
    job = house.gated()
    pid = int(house.noted("began", job)[0][3])
    agent = _stop(house.role("agent"))
    asked = house.launch("scale", "0")
    until(lambda: [worker for worker in house.workers() if (worker["pid"], worker["phase"]) == (pid, "draining")])
    _stop(pid)
    until(lambda: [end for end in house.exits() if end["pid"] == pid])
    os.kill(agent, signal.SIGKILL)
    asked.communicate(timeout=STOP_SECONDS + SLACK_SECONDS)
    house.open_gate()
    house.ok("scale", 2)
    ended = house.until_status(job, "succeeded")
    assert (ended["attempt"], ended["deaths"]) == (2, 0)


@pytest.mark.parametrize("name", ["agent", "collector", "template"])
def test_a_stop_does_not_wait_for_ever_for_a_role_that_is_stopped(build: Callable[..., House], name: str) -> None:
    house = build(f'{CONFIG}[supervisor]\nstop_timeout = "{STOP_SECONDS}s"\n')
    house.start(2)
    job = house.gated()
    _stop(until(lambda: house.role(name)))
    house.open_gate()
    house.until_status(job, "succeeded")
    house.ok("stop")
    house.assert_nothing_runs()
    assert [end["signal"] for end in house.exits(name) if end["signal"] == signal.SIGKILL]
    house.start(2)
    ledger = Ledger(house)
    ledger.enqueue(10)
    ledger.settled()
