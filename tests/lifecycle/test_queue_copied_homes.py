"""A home that was copied, with its node's id, to where it runs beside the other on the same database."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import psycopg
from lifecycle_house import House, until

from workerctl.cli.launch import _machine


def at(url: str, house: House) -> House:
    """The house, on a database of the fleet's instead of its own."""
    shutil.rmtree(house.home)
    house.environ["DATABASE_URL"] = url
    return house


def node_id(house: House) -> str:
    return str(json.loads((house.home / "node.json").read_text())["id"])


def test_a_copy_becomes_a_node_of_its_own_and_one_that_cannot_know_is_refused(
    build: Callable[..., House], database_url: str
) -> None:
    house, copy = at(database_url, build()), at(database_url, build())
    house.start(1)
    job = house.gated()
    copy.home.mkdir()
    known = json.loads((house.home / "node.json").read_text())

    (copy.home / "node.json").write_text(json.dumps(known | {"machine": _machine(copy.home)}))
    words = copy.fails(78, "start", "--instances", "1")
    assert f"the id of this node, {known['id']}, is that of a home on host" in words
    assert "remove node.json from the copy" in words

    (copy.home / "node.json").write_text(json.dumps(known))
    assert "it is a new node from here on" in copy.run("start", "--instances", "1").stderr
    assert node_id(copy) != node_id(house) == known["id"]
    copy.ok("stop")
    assert node_id(copy) != known["id"], "and stays so"
    house.open_gate()
    ended = house.until_status(job, "succeeded")
    assert (ended["attempt"], ended["deaths"]) == (1, 0), "nobody gave back what the first one runs"


def test_a_home_whose_machine_was_booted_anew_takes_its_node_over_though_its_lease_lasts(
    build: Callable[..., House], database_url: str
) -> None:
    house = at(database_url, build())
    house.start(1)
    house.ok("stop")
    with psycopg.connect(database_url, autocommit=True) as queue:
        queue.execute("UPDATE workerctl.node SET place = 'an earlier boot', renewed_at = now() - interval '5 seconds'")
        house.start(1)
        [(place,)] = queue.execute("SELECT place FROM workerctl.node WHERE id = %s", [node_id(house)]).fetchall()
        assert place != "an earlier boot"
        until(lambda: house.role("agent"), what="the agent serves")
