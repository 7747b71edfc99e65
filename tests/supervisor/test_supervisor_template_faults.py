"""What befalls templates, and forks that are refused: workers live on."""

from __future__ import annotations

import os
import signal

from toy_house import House, is_alive, until


def test_a_template_that_is_killed_is_replaced_and_workers_live_on(house: House) -> None:
    house.start(*house.workers(2))
    pids = house.until_ready(2)
    template = house.role("template")["pid"]
    os.kill(template, signal.SIGKILL)
    until(lambda: house.role("template")["phase"] == "ready" and house.role("template")["pid"] != template)
    assert house.pids() == pids
    os.kill(pids[0], signal.SIGKILL)
    house.until_ready(2)


def test_a_stopped_template_and_a_stopped_spare_are_replaced_though_no_fork_is_due(house: House) -> None:
    _, pool = house.workers(2)
    house.start(house.group("template", "template", instances=2), pool, policy={"hung_seconds": 0.7})
    pids = house.until_ready(2)
    for number in (0, 1):
        stopped = until(lambda number=number: _template(house, number))
        os.kill(stopped, signal.SIGSTOP)
        until(lambda number=number, stopped=stopped: _template(house, number) not in (None, stopped))
    assert [(line["group"], line["cause"]) for line in house.exits()] == [("template", "hung")] * 2
    os.kill(pids[0], signal.SIGKILL)
    house.until_ready(2)
    assert pids[1] in house.pids()


def _template(house: House, number: int) -> int | None:
    [role] = [role for role in house.status()["roles"] if role["name"] == "template"]
    process = role["processes"][number]
    return process["pid"] if process["phase"] == "ready" else None


def test_a_template_that_beats_and_answers_no_fork_is_killed(house: House) -> None:
    house.start(*house.workers(2), policy={"hung_seconds": 0.7})
    pids = house.until_ready(2)
    template = house.role("template")["pid"]
    house.behave("no-answer")
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: not is_alive(template))
    house.behave("")
    house.until_ready(2)
    assert pids[1] in house.pids()


def test_refused_forks_are_tried_again_and_cost_no_crash_budget(house: House) -> None:
    house.start(*house.workers(1), policy={"environment_backoff_limit_seconds": 0.05})
    (pid,) = house.until_ready(1)
    house.behave("no-fork")
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(house.facts("SpawnFailed")) > 10)
    house.behave("")
    house.until_ready(1)
