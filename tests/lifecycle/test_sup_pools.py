"""Pools that import something else: a template each, and whatever replaces a worker knows the kinds of its own pool."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from lifecycle_house import CONFIG, House, until

from workerctl.contract import NotRunning

# a module of the same name as the default pool's, in another folder
SERVICE = """
import os, time
from workerctl import Context, job

RELEASE = 1

@job("report", queue="reports")
def report(payload: dict, ctx: Context) -> dict:
    return {"pid": os.getpid(), "release": RELEASE}

@job("report.numbers", queue="reports")
def numbers(payload: list[int], ctx: Context) -> None:
    pass

@job("report.slow", queue="reports", max_attempts=1)
async def slow(payload: dict, ctx: Context) -> None:
    import asyncio
    await asyncio.sleep(60)

@job("report.fails", queue="reports", max_attempts=2)
def fails(payload: dict, ctx: Context) -> None:
    raise ValueError("no")
"""
POOL = """
[pools.reports]
queues = ["reports"]
instances = 1
path = ["service"]
timeout = "300ms"
retry_delay = "0s"
"""


@pytest.fixture
def house(build: Callable[[str], House]) -> House:
    house = build(CONFIG.replace("100ms", "1h") + POOL)
    (house.folder / "service").mkdir()
    serve(house, SERVICE)
    return house


def serve(house: House, text: str) -> None:
    (house.folder / "service" / "kinds.py").write_text(text)


def report(house: House) -> dict[str, int]:
    job_id = house.enqueue("report")
    result: dict[str, int] = house.until_status(job_id, "succeeded")["result"]
    return result


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def successor_of(house: House, pid: int) -> int:
    """The pid of who is ready in the pool's one seat after this one."""
    found = until(lambda: [worker for worker in house.ready("reports") if worker["pid"] != pid], what="a successor")
    return int(found[0]["pid"])


def test_each_pool_has_its_own_modules_through_crashes_and_reloads(house: House) -> None:
    house.start(1)
    [mine], [theirs] = house.ready(), house.ready("reports")
    assert report(house) == {"pid": theirs["pid"], "release": 1}
    assert house.until_status(house.enqueue("add", a=1), "succeeded")["result"]["sum"] == 1
    assert templates(house) == ["template", "template-reports"]

    end(theirs["pid"])
    successor = successor_of(house, theirs["pid"])
    assert report(house)["release"] == 1

    template = house.role("template-reports")
    assert template is not None
    end(template)
    until(lambda: house.role("template-reports") not in (None, template), what="its spare serves")
    end(successor)
    successor_of(house, successor)
    assert report(house)["release"] == 1, "forked from the spare"

    serve(house, "raise RuntimeError('broken service')\n")
    answer = house.run("reload")
    assert answer.returncode == 1 and "broken service" in answer.stderr
    assert report(house)["release"] == 1
    serve(house, SERVICE.replace("RELEASE = 1", "RELEASE = 2"))
    assert house.ready()[0]["pid"] == mine["pid"], "nothing of the other pool was touched"
    house.ok("reload")
    assert report(house)["release"] == 2
    assert house.until_status(house.enqueue("add", a=2), "succeeded")["result"]["sum"] == 2


def test_a_pools_own_timeout_and_retry_delay_hold_for_what_it_runs(house: House) -> None:
    house.start(1)
    slow, fails = house.enqueue("report.slow"), house.enqueue("report.fails")
    assert "timed out after 0.3 s" in str(house.until_status(slow, "dead")["error"])
    house.until_status(fails, "dead")  # at once: in the default pool the second attempt would come in an hour
    assert "report.numbers: payload does not fit" in house.fails(1, "enqueue", "report.numbers", "a=1")
    house.ok("scale", "reports=2")
    until(lambda: len(house.ready("reports")) == 2, what="a second worker of the pool")


@pytest.mark.long  # two reloads with their probations
def test_a_reload_gives_a_pool_modules_of_its_own_and_takes_them_away_again(house: House) -> None:
    shared = '[pools.reports]\nqueues = ["reports"]\ninstances = 1\n'
    house.configure(CONFIG + shared)
    house.start(1)
    job = int(house.ok("enqueue", "report", "--queue", "reports"))
    house.configure(CONFIG + POOL + 'modules = ["nowhere"]\n')
    answer = house.run("reload")
    assert answer.returncode == 1 and "pools.reports.modules: there is no module 'nowhere'" in answer.stderr
    assert house.job(job)["status"] == "pending", "nobody knows it yet"
    house.configure(CONFIG + POOL)
    house.ok("reload")
    house.until_status(job, "succeeded")
    house.configure(CONFIG + shared)
    house.ok("reload")
    until(lambda: templates(house) == ["template"], what="the template that nobody needs has left")
    house.until_status(int(house.ok("enqueue", "add", "a=1", "--queue", "reports")), "succeeded")


def templates(house: House) -> list[str]:
    return [team["name"] for team in house.status()["roles"] if "template" in team["name"]]


def test_a_module_that_is_not_there_is_told_with_the_key_of_its_pool(house: House) -> None:
    house.configure(CONFIG + POOL + 'modules = ["nowhere"]\n')
    line = house.run("start", "--instances", 1).stderr
    assert "pools.reports.modules: there is no module 'nowhere'" in line
    with pytest.raises(NotRunning):
        house.status()


def test_the_check_knows_the_kinds_of_every_pool(house: House) -> None:
    house.configure(CONFIG + POOL + "[limits]\nreport = 2\nadd = 1\n")
    assert "note" not in house.run("config", "check").stderr
    serve(house, SERVICE.replace('@job("report", queue="reports")', '@job("report")'))
    note = house.run("config", "check").stderr
    assert "jobs.modules: nobody takes report: the queue 'default' is the pool default's" in note
