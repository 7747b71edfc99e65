"""Every role is killed in the midst of a start, a reload and a stop: no job is lost, none ends twice."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable

import pytest
from lifecycle_house import CONFIG, House, until
from lifecycle_ledger import Ledger, stands

from workerctl.contract import NotRunning

pytestmark = pytest.mark.long

ROLES = ("template", "agent", "collector", "postgres")
EVERYBODY = (*ROLES, "supervisor")
STAGE = f'{CONFIG}[supervisor]\nstop_timeout = "5s"\n'


def _pid_of(house: House, name: str) -> int | None:
    """Who is there now, ready or not; during a reload the new template."""
    with contextlib.suppress(NotRunning):
        if name == "supervisor":
            return house.supervisor_pid
        roles = [role for role in house.status()["roles"] if role["name"] == name]
        pid: int | None = roles[-1]["processes"][0]["pid"]
        return pid
    return None


def _kill(house: House, name: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(until(lambda: _pid_of(house, name), what=f"{name} is there"), signal.SIGKILL)


def _start_again(house: House) -> None:
    """Whatever runs now: two workers in the end."""
    if not house.is_running():
        house.start(2)
    stands(house, 2)


@pytest.mark.parametrize("name", ROLES)
def test_a_role_that_is_killed_as_soon_as_it_is_there_delays_a_start_at_the_most(house: House, name: str) -> None:
    starting = house.launch("start", "--instances", 2)
    until(lambda: re.search(rf" event (Spawned|Forked) slot={name}/1 .*pid=\d+", house.log()), what=f"{name} is there")
    _kill(house, name)
    starting.communicate(timeout=house.command_seconds)
    if starting.returncode != 0:
        house.assert_nothing_runs()  # all or nothing
    _start_again(house)
    ledger = Ledger(house)
    ledger.enqueue(10)
    assert set(ledger.settled().values()) == {1}


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_reload_in_whose_midst_somebody_is_killed_ends_and_loses_nothing(
    build: Callable[..., House], name: str
) -> None:
    house = build(STAGE)
    house.start(2)
    ledger = Ledger(house)
    ledger.enqueue(40, seconds=0.1)
    with (house.folder / "kinds.py").open("a") as module:
        module.write("\n# another version\n")
    reloading = house.launch("reload")
    until(lambda: "event ReloadBegan" in house.log(), what="the reload is under way")
    _kill(house, name)
    reloading.communicate(timeout=house.command_seconds)
    assert reloading.returncode in (0, 1, 4)
    if name == "supervisor":
        house.orphaned = True
        until(lambda: not house.is_running())
    _start_again(house)
    ledger.settled()
    assert len({worker["release"] for worker in house.ready()}) == 1


@pytest.mark.parametrize("name", EVERYBODY)
def test_a_stop_in_whose_midst_somebody_is_killed_ends_and_loses_nothing(
    build: Callable[..., House], name: str
) -> None:
    house = build(STAGE)
    house.start(2)
    ledger = Ledger(house)
    ledger.enqueue(2, seconds=1.0)
    until(lambda: sum(worker["jobs_running"] for worker in house.workers()) == 2, what="jobs are in hand")
    stopping = house.launch("stop")
    until(lambda: "event StopAsked" in house.log(), what="it stops")
    _kill(house, name)
    stopping.communicate(timeout=house.command_seconds)
    house.orphaned = name == "supervisor"
    until(lambda: not house.left_over() or name == "supervisor", what="nothing is left")
    _start_again(house)
    ledger.settled()
