"""Planned replacements that come again and again: noticed, slowed down, never a storm. Pure, and once for real."""

from __future__ import annotations

import msgspec
import pytest
from toy_house import House, until
from toy_world import HOUSE, POLICY, World

from workerctl.supervisor import events as ev
from workerctl.supervisor.composition import Policy
from workerctl.supervisor.members import Fault, Member, Slot, Usage
from workerctl.supervisor.notices import notices
from workerctl.supervisor.report import report
from workerctl.supervisor.restart import recycle_at, recycle_streak

MEBIBYTE = 1 << 20


def fat_world(policy: Policy = POLICY, **fields: object) -> World:
    """Every worker is over its limit as soon as it is seen."""
    groups = [msgspec.structs.replace(g, **fields) if g.kind == "pool" else g for g in HOUSE]
    return World(groups, policy)


def grow_for(world: World, seconds: float) -> None:
    end = world.now + seconds
    while world.now < end:
        world.run(2.0)
        for team, slot, member in world.members("default"):
            if member.ready_at is not None:
                world.happen(ev.MemorySampled(world.now, team.group.name, slot.number, member.serial, Usage(10_000)))
        world.settle()


def test_a_limit_below_what_the_code_needs_costs_few_forks_and_no_worker() -> None:
    world = fat_world(instances=1).run(3)
    fewest: list[int] = []
    world.on_settled = lambda: fewest.append(sum(slot.is_ready for slot in world.roster.teams["default"].wanted))
    grow_for(world, 600)
    spawns = world.spawns()
    assert min(fewest) == 1, "the old one serves until its successor is ready"
    last = [later - earlier for earlier, later in zip(spawns[-6:], spawns[-5:], strict=False)]
    assert min(last) >= POLICY.recycle_backoff_limit_seconds
    assert len(spawns) <= 600 / POLICY.recycle_backoff_limit_seconds + 8
    [notice] = notices(world.roster, POLICY)
    assert notice.text.startswith("default/1 is replaced again and again") and "max_memory is 0 MB" in notice.text
    assert report(world.roster, POLICY, 1, world.now, {})["warnings"] == [notice._asdict()]


def test_the_notice_goes_once_a_worker_lives_and_by_a_reset() -> None:
    world = fat_world(instances=1).run(3)
    grow_for(world, 120)
    assert notices(world.roster, POLICY)
    world.happen(ev.ResetAsked(world.now, "default"))
    assert not notices(world.roster, POLICY)
    assert recycle_streak(world.roster.teams["default"].slots[0], POLICY) == 0


def test_workers_that_live_their_lifetime_are_no_loop() -> None:
    world = fat_world(instances=2, lifetime_seconds=300.0).run(3600)
    assert len(world.spawns()) > 20
    assert not notices(world.roster, POLICY)


@pytest.mark.parametrize(
    ("lived", "waits"),
    [((), 0), ((5,), 0), ((5, 5), 2), ((5, 5, 5), 4), ((5,) * 9, 30), ((5, 5, 70), 0), ((70, 5, 5), 2)],
)
def test_the_wait_grows_with_hasty_replacements_in_a_row(lived: tuple[float, ...], waits: float) -> None:
    slot = Slot(1, recycles=tuple(Fault(0.0, 0.5, seconds) for seconds in lived))
    assert recycle_at(slot, Member(1, 100.0), POLICY) == 100.0 + waits


def test_a_slot_that_was_given_up_is_told_with_what_to_do() -> None:
    world = World(HOUSE)
    world.fails = lambda group: 3 if group == "default" else None
    world.run(60)
    told = [notice.text for notice in notices(world.roster, POLICY)]
    assert any("default/1 was given up (boot-error), tried every 300 s" in text for text in told)
    assert all("`workerctl reset default`" in text for text in told)


def test_a_real_loop_is_said_once_in_the_log_and_stays_in_the_status(house: House) -> None:
    house.behave("fat=80")
    policy = {"sample_seconds": 0.05, "recycle_backoff_seconds": 0.1}
    house.start(*house.workers(1, max_memory_bytes=60 * MEBIBYTE), policy=policy)
    until(lambda: house.status()["warnings"], 20, house.log)
    until(lambda: house.facts("Notice"))
    assert "max_memory is 60 MB" in house.facts("Notice")[0]
    assert len(house.facts("Notice")) == 1
    assert house.stop() == 0
