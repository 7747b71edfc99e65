"""A part of the pools, as each service of a deployment runs it, and what `restart` keeps of that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lifecycle_house import CONFIG, House, until

POOLS = CONFIG + '[pools.logs]\nqueues = ["logs"]\n[pools.content]\nqueues = ["content"]\n'


@pytest.fixture
def house(build: Callable[[str], House]) -> House:
    return build(POOLS.replace("[jobs]", "[supervisor]\ninstances = 1\n[jobs]"))


def pools(house: House) -> list[str]:
    return [pool["name"] for pool in house.status()["pools"]]


def test_a_service_runs_its_own_pools_and_takes_no_job_of_others(house: House) -> None:
    house.ok("start", "--only", "logs")
    assert pools(house) == ["logs"]
    other = house.enqueue("add", a=1)
    own = int(house.ok("enqueue", "add", "a=1", "--queue", "logs"))
    house.until_status(own, "succeeded")
    assert house.job(other)["status"] == "pending"


def test_the_service_type_of_the_environment_says_the_same_and_an_option_wins(house: House) -> None:
    house.ok("start", SERVICE_TYPE="logs content")
    assert pools(house) == ["logs", "content"]
    house.ok("stop")
    house.ok("start", "--only", "content", SERVICE_TYPE="logs")
    assert pools(house) == ["content"]


def test_a_service_that_does_not_exist_is_refused_with_the_pools_there_are(house: House) -> None:
    line = house.fails(78, "start", SERVICE_TYPE="web")
    assert "--only web (or SERVICE_TYPE)" in line and "default, logs, content" in line


def test_a_restart_runs_the_pools_that_ran(house: House) -> None:
    house.ok("start", "--only", "logs")
    house.ok("restart")
    assert pools(house) == ["logs"]


def test_a_restart_with_a_configuration_that_cannot_work_stops_nothing(house: House) -> None:
    house.ok("start", "--only", "logs")
    pid = house.supervisor_pid
    house.configure("nonsense = 3\n")
    assert "unknown key" in house.fails(78, "restart")
    assert house.supervisor_pid == pid
    assert len(house.ready("logs")) == 1


def test_a_supervisor_in_the_foreground_is_restarted_by_whoever_holds_it(house: House) -> None:
    held = house.launch("start", "--foreground", "--only", "logs")
    until(lambda: house.is_running() and house.ready("logs"), what="it serves")
    assert "systemctl restart" in house.fails(1, "restart")
    assert held.poll() is None
    house.ok("restart", "logs")
    assert "pm2 stop" in house.run("stop").stderr
    assert held.wait(20) == 0
