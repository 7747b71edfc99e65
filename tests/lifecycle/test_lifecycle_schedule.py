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
