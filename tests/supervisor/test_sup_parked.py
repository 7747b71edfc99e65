"""Slots that were given up, over the death of their supervisor: one try each, not five."""

from __future__ import annotations

import signal

from toy_house import House, until


def crashes(house: House) -> int:
    return sum(record["group"] == "bad" for record in house.exits())


def phase(house: House) -> str:
    return str(house.status()["apps"][0]["processes"][0]["phase"])


def begin(house: House) -> None:
    house.start(
        *house.workers(1),
        house.command("bad", "sh", "-c", "test -e ok && exec sleep 1000"),
        policy={"backoff_seconds": 0.01},
    )
    house.until_ready(1)
    until(lambda: phase(house) == "parked", explain=house.log)


def test_what_a_killed_supervisor_had_given_up_gets_one_try_of_the_next(house: House) -> None:
    begin(house)
    assert crashes(house) == 5
    assert (house.home / "state" / "parked.json").read_text() == '[["bad", 1]]'
    house.signal(signal.SIGKILL)
    house.until_ended()
    begin(house)
    assert crashes(house) == 5 + 1
    assert house.stop() == 0
    begin(house)
    assert crashes(house) == 5 + 1 + 5, "an orderly end forgets"


def test_a_slot_that_came_back_is_no_longer_written_down_and_a_damaged_file_is_none(house: House) -> None:
    begin(house)
    parked = house.home / "state" / "parked.json"
    (house.folder / "ok").touch()
    house.ask("reset", name="bad")
    until(lambda: phase(house) == "ready" and parked.read_text() == "[]", explain=house.log)
    (house.folder / "ok").unlink()
    house.signal(signal.SIGKILL)
    house.until_ended()
    parked.write_text("damaged")
    begin(house)
    assert crashes(house) == 5 + 5 + 1, "the process that its supervisor left is told as well"
