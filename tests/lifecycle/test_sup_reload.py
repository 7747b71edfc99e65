"""Reloads that change what there is: pools come and go with their queues, a pool without workers proves the code."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lifecycle_house import CONFIG, House, until

from workerctl import __version__

LOGS = '[pools.logs]\nqueues = ["logs"]\ninstances = 1\n'


@pytest.fixture
def deployed(build: Callable[..., House]) -> Iterator[House]:
    """A project as it is deployed: `current` is a link to the newest of `releases`, the home lies beside them."""
    house = build()
    root = house.folder
    for name in ("releases/1", "releases/2"):
        (root / name).mkdir(parents=True)
        for file in ("kinds.py", "bad.py", "workerctl.toml"):
            shutil.copy(root / file, root / name)
    (root / "workerctl.toml").unlink()
    house.environ["WORKERCTL_HOME"] = str(house.home)
    yield house
    house.folder = root


def deploy(house: House, number: int) -> Path:
    """From now on commands are typed in this release."""
    root = house.home.parent
    (root / "current").unlink(missing_ok=True)
    (root / "current").symlink_to(f"releases/{number}")
    house.folder = root / "current"
    return root / "releases" / str(number)


def whereabouts(house: House) -> list[str]:
    found = json.loads(house.ok("enqueue", "whereabouts", "--wait"))
    return [found["file"], found["folder"]]


def test_a_link_to_the_newest_release_is_followed_by_reload_and_never_turned_back(deployed: House) -> None:
    house = deployed
    first = deploy(house, 1)
    house.start(1)
    assert whereabouts(house) == [str(first / "kinds.py"), str(first)], (
        "workers run in the project, wherever the home is"
    )
    second = deploy(house, 2)
    house.ok("--config", house.folder / "workerctl.toml", "reload")
    assert whereabouts(house) == [str(second / "kinds.py"), str(second)]
    assert house.status()["supervisor"]["release"].startswith(f"{second}@")
    shutil.rmtree(first)
    [worker] = house.ready()
    os.kill(house.supervisor_pid, signal.SIGHUP)
    until(lambda: house.ready() and house.ready()[0]["pid"] != worker["pid"] and len(house.workers()) == 1)
    assert whereabouts(house) == [str(second / "kinds.py"), str(second)]


def mark(house: House) -> int:
    """The pid of the worker that ran a job of the queue `logs`."""
    house.ok("enqueue", "mark", f"file={house.effects}", "--queue", "logs", "--wait")
    return int(house.noted("mark")[-1][3])


def test_a_pool_comes_and_goes_with_its_queue(house: House) -> None:
    house.start(1)
    [default] = house.ready()
    assert mark(house) == default["pid"]
    house.configure(CONFIG + LOGS)
    assert "logs (new)" in house.run("reload", "--reason", "more logs").stderr
    assert len(house.ready("logs")) == 1, "the command returns once the new pool serves"
    until(lambda: house.role("agent"), what="an agent that knows it")
    assert mark(house) == house.ready("logs")[0]["pid"]
    house.configure(CONFIG)
    assert "logs (removed)" in house.run("reload").stderr
    until(lambda: [pool["name"] for pool in house.status()["pools"]] == ["default"], what="the pool is gone")
    assert mark(house) == house.ready()[0]["pid"]
    [end] = house.exits("logs")
    assert (end["cause"], end["exit_code"]) == ("reload", 0)


def test_another_version_brings_the_schema_up_to_date_before_its_workers_and_an_agent_of_its_own(house: House) -> None:
    house.start(1)
    agent = house.role("agent")
    composition = house.home / "run" / "composition.json"  # as if an earlier version had started it
    composition.write_text(composition.read_text().replace(__version__, "0.0.1"))
    with house.database() as connection:
        connection.execute("DELETE FROM workerctl.migration WHERE name = '0009_duties'")
        connection.execute("DROP TABLE workerctl.duty")
    assert "applied 0009_duties\n" in house.run("reload").stderr
    until(lambda: house.role("agent") not in (None, agent), what="an agent of the new version")
    until(lambda: "leases" in house.ok("schedule", "list"), what="it does its duties")
    house.until_status(house.enqueue("add", a=1), "succeeded")


def test_a_pool_without_workers_proves_new_code_and_touches_no_job(house: House) -> None:
    house.start(0)
    job = house.enqueue("add", a=1)
    kinds = house.folder / "kinds.py"
    good = kinds.read_text()
    kinds.write_text(good + "\nraise RuntimeError('broken')\n")
    assert "broken" in house.run("reload").stderr
    kinds.write_text(good)
    assert "reloaded default" in house.run("reload").stderr
    [end] = until(lambda: house.exits(), what="the canary has left")
    assert (end["cause"], end["exit_code"], end["jobs_in_hand"]) == ("reload", 0, 0)
    assert house.job(job)["status"] == "pending"
    house.ok("scale", 1)
    house.until_status(job, "succeeded")


def test_workers_outlive_the_collector_that_a_reload_replaces(house: House) -> None:
    house.start(1)
    collector = house.role("collector")
    house.configure(CONFIG + "[logs]\nkeep = 3\n")
    house.ok("reload")
    until(lambda: house.role("collector") not in (None, collector), what="a collector of the new settings")
    [worker] = house.ready()
    house.until_status(house.enqueue("add", a=1), "succeeded")
    assert [each["pid"] for each in house.ready()] == [worker["pid"]]
    assert [end["cause"] for end in house.exits()] == ["reload"]
    until(lambda: "succeeded" in house.ok("logs", "default/1"), what="its lines are read")


def test_an_agent_that_the_schema_had_left_behind_comes_back_with_the_code_that_knows_it(house: House) -> None:
    house.start(1)
    with house.database() as connection:
        connection.execute("INSERT INTO workerctl.migration VALUES (9999, '9999_later', 'post', '')")
        os.kill(until(lambda: house.role("agent")), signal.SIGKILL)
        until(lambda: house.status()["supervisor"]["state"] == "degraded", what="it is given up")
        [end] = [end for end in house.exits("agent") if end["exit_code"] == 78]
        assert "migration 9999_later, which this version of workerctl" in end["message"]
        connection.execute("DELETE FROM workerctl.migration WHERE version = 9999")  # as if this were newer code
    house.ok("reload")
    until(lambda: house.role("agent"), what="an agent")
    until(lambda: house.status()["supervisor"]["state"] == "running")
