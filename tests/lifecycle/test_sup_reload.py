"""Reloads that change what there is: pools come and go with their queues, a pool without workers proves the code."""

from __future__ import annotations

from lifecycle_house import CONFIG, House, until

from workerctl import __version__

LOGS = '[pools.logs]\nqueues = ["logs"]\ninstances = 1\n'


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
