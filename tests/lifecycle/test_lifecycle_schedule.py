"""Scheduled tasks: exactly one job per due time, whoever is killed."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable

from lifecycle_house import CONFIG, House, until

SCHEDULE = (
    CONFIG
    + """
[schedule.tick]
cron = "* * * * * *"
kind = "add"
payload = { a = 1 }
[schedule.rare]
cron = "0 3 1 1 *"
timezone = "Asia/Shanghai"
kind = "add"
payload = { a = 2 }
"""
)


SHIPPED = """
[jobs]
retry_delay = "100ms"
[limits]
imgae = 1
[schedule.wrong]
cron = "0 3 1 1 *"
kind = "image.generate"
payload = { prompt = 3 }
"""


def ticks(house: House) -> list[tuple[object, int]]:
    with house.database() as connection:
        return connection.execute(
            "SELECT due_at, job_id FROM workerctl.tick WHERE name = 'tick' ORDER BY due_at"
        ).fetchall()


def test_every_due_time_becomes_one_job_also_when_the_agent_is_killed(build: Callable[..., House]) -> None:
    house = build(SCHEDULE)
    house.start(1)
    until(lambda: len(ticks(house)) >= 3)
    agent = until(lambda: house.role("agent"))
    os.kill(agent, signal.SIGKILL)
    before = len(ticks(house))
    until(lambda: len(ticks(house)) >= before + 3, what="a new agent goes on")
    made = ticks(house)
    steps = [(later[0] - earlier[0]).total_seconds() for earlier, later in itertools.pairwise(made)]
    assert set(steps) == {1.0}, "no due time is left out, none is made twice"
    assert len({job for _, job in made}) == len(made)
    house.until_status(made[-1][1], "succeeded")
    table = house.ok("schedule", "list")
    assert "Asia/Shanghai" in table
    assert "never" in table
    listed = {task["name"]: task for task in house.json("schedule", "list")}
    assert listed["tick"]["last_status"] in ("pending", "running", "succeeded")
    assert listed["rare"]["last_status"] is None
    assert "orphans" not in listed, "its kind does not ship here"


def test_what_ships_is_scheduled_by_itself_and_its_last_run_is_listed(build: Callable[..., House]) -> None:
    house = build(SHIPPED)
    notes = house.run("start", "--instances", 1).stderr
    assert "note: limits.imgae: no job module knows the kind 'imgae'; did you mean image" in notes
    job = int(until(lambda: house.run("schedule", "run", "orphans").stdout, what="a primary"))
    ended = house.until_status(job, "succeeded")
    assert ended["result"]["deleted"] == 0
    with house.database() as connection:  # its due time is on Sunday
        connection.execute("INSERT INTO workerctl.tick VALUES ('orphans', '2026-01-04T04:00Z', %s, 0)", [job])
    [orphans] = [task for task in house.json("schedule", "list") if task["name"] == "orphans"]
    assert (orphans["last_job_id"], orphans["last_status"]) == (job, "succeeded")
    assert 0 < orphans["last_seconds"] < 30
    assert "schedule.wrong: image.generate: payload does not fit" in house.fails(78, "config", "check")
