"""Rolling reloads over histories: one canary first, never fewer workers, no cost of broken code. Pure."""

from __future__ import annotations

import pytest
from toy_reload import outcome, releases, workers, world_of
from toy_world import POLICY

from workerctl.supervisor import events as ev
from workerctl.supervisor.actions import Drain, Spawn
from workerctl.supervisor.health import progress
from workerctl.supervisor.plan import plan
from workerctl.supervisor.report import report
from workerctl.supervisor.states import Cause, Phase, Progress


@pytest.mark.parametrize(("instances", "at_once"), [(1, 1), (4, 1), (10, 2), (20, 4)])
def test_a_reload_replaces_every_worker_and_never_serves_with_fewer(instances: int, at_once: int) -> None:
    world = world_of(instances)
    serving, double = [], []

    def look() -> None:
        slots = world.roster.teams["default"].slots
        serving.append(sum(slot.is_ready for slot in slots))
        double.append(sum(len(slot.members) > 1 for slot in slots))

    world.on_settled = look
    world.reload()
    assert progress(world.roster, POLICY) is Progress.RELOADING
    world.run(20)
    assert (min(serving), max(double)) == (instances, at_once)
    assert releases(world) == [2] * instances
    assert outcome(world) == (2, "committed")
    assert progress(world.roster, POLICY) is Progress.RUNNING


def test_one_canary_serves_through_its_probation_before_a_second_is_touched() -> None:
    world = world_of(20)
    world.reload()
    world.run(0.2)
    first = [at for at, action, _ in world.performed if isinstance(action, Spawn) and action.release == 2]
    assert len(first) == 2  # the template and the canary
    world.run(POLICY.probation_seconds - 0.2)
    assert releases(world).count(2) == 1
    assert len(world.members("default")) == 21, "the canary's predecessor stays until the canary has proven itself"
    world.run(0.5)
    assert releases(world).count(2) > 1


def test_the_old_template_leaves_after_the_commit_and_the_new_one_gets_a_spare() -> None:
    world = world_of()
    assert list(world.roster.teams) == ["collector", "postgres", "migrate", "template", "agent", "default", "web"]
    assert len(world.members("template")) == 2
    world.reload()
    world.run(1)
    assert len(world.members("template:2")) == 1
    world.run(20)
    assert "template" not in world.roster.teams
    assert len(world.members("template:2")) == 2
    world.run(20)
    world.reload()
    world.run(20)
    assert [name for name in world.roster.teams if name.startswith("template")] == ["template:3"]
    assert releases(world) == [3] * 4


def test_code_that_does_not_import_costs_no_worker_and_is_tried_once() -> None:
    world = world_of()
    before = workers(world)
    world.release_fails = lambda kind, number: 1 if kind == "template" and number == 2 else None
    world.reload()
    world.run(60)
    assert outcome(world) == (2, "failed")
    assert workers(world) == before
    assert len(world.spawns("template:2")) == 1 and not world.members("template:2")
    assert progress(world.roster, POLICY) is Progress.RUNNING


@pytest.mark.parametrize("code", [1, 78])
def test_a_canary_that_never_becomes_ready_ends_the_reload(code: int) -> None:
    world = world_of()
    before = workers(world)
    world.release_fails = lambda kind, number: code if kind == "pool" and number == 2 else None
    world.reload()
    world.run(60)
    assert outcome(world) == (2, "failed")
    assert workers(world) == before
    assert "template:2" not in world.roster.teams


def test_a_canary_that_dies_on_probation_costs_no_worker() -> None:
    world = world_of(1)
    (old,) = workers(world)
    world.reload()
    world.run(2)
    canary = next(found for found in world.members("default") if found[2].release == 2)
    assert canary[2].is_ready
    world.end(*canary, None, 11)
    world.run(60)
    assert outcome(world) == (2, "failed")
    assert workers(world) == {old}
    assert not [1 for _, action, _ in world.performed if isinstance(action, Drain) and action.serial == old]


def test_a_worker_that_dies_young_later_rolls_all_of_them_back() -> None:
    world = world_of(10)
    world.reload()
    world.run(POLICY.probation_seconds + 0.5)
    moved = [found for found in world.members("default") if found[2].release == 2]
    assert len(moved) > 1
    world.end(*moved[-1], 1)
    world.run(30)
    assert outcome(world) == (2, "failed")
    assert releases(world) == [1] * 10
    assert {str(slot.phase) for slot in world.roster.teams["default"].slots} == {"ready"}


def test_a_crash_during_a_reload_is_replaced_by_the_committed_release() -> None:
    world = world_of()
    world.reload()
    world.run(1)
    old = next(found for found in world.members("default") if found[2].release == 1 and found[1].number == 4)
    world.end(*old, None, 9)
    spawn = next(action for action in plan(world.roster, POLICY, world.now) if isinstance(action, Spawn))
    assert spawn == Spawn("default", 4, release=1)
    world.happen(ev.Scaled(world.now, "default", 6))
    world.run(0.5)
    assert releases(world).count(1) >= 5
    world.run(20)
    assert releases(world) == [2] * 6


def test_a_second_reload_supersedes_the_first() -> None:
    world = world_of()
    world.reload()
    world.run(2)
    assert world.reload() == 3
    assert outcome(world) == (2, "superseded")
    world.run(20)
    assert outcome(world) == (3, "committed")
    assert releases(world) == [3] * 4
    assert [name for name in world.roster.teams if name.startswith("template")] == ["template:3"]


def test_two_reloads_at_once_are_one() -> None:
    world = world_of()
    world.reload()
    world.reload()
    world.run(20)
    assert releases(world) == [3] * 4
    assert len(world.spawns("default")) == 8


def test_a_reload_whose_template_dies_fails() -> None:
    world = world_of()
    before = workers(world)
    world.reload()
    world.run(0.15)
    world.end(*world.members("template:2")[0], None, 9)
    world.run(20)
    assert outcome(world) == (2, "failed")
    assert workers(world) == before


def test_fixed_code_brings_parked_slots_back() -> None:
    world = world_of()
    world.fails = lambda name: 1 if name == "default" else None
    for found in world.members("default"):
        world.end(*found, None, 9)
    world.run(100)
    assert world.phases() == ["parked"] * 4
    world.fails = lambda _: None
    world.release_fails = lambda kind, number: 1 if kind == "pool" and number == 1 else None
    world.performed.clear()
    world.reload()
    world.run(20)
    assert outcome(world) == (2, "committed")
    assert releases(world) == [2] * 4
    assert all(slot.phase is Phase.READY for slot in world.roster.teams["default"].slots)


def test_code_that_is_still_broken_leaves_parked_slots_parked() -> None:
    world = world_of()
    world.fails = lambda name: 1 if name == "default" else None
    for found in world.members("default"):
        world.end(*found, None, 9)
    world.run(100)
    world.performed.clear()
    world.reload()
    world.run(20)
    assert outcome(world) == (2, "failed")
    assert len(world.spawns("default")) == 1
    assert world.phases() == ["parked"] * 4


def test_a_reload_without_workers_is_committed_after_a_probation_all_the_same() -> None:
    world = world_of(0)
    world.reload()
    world.run(1 + POLICY.probation_seconds)
    assert outcome(world) == (2, "committed")


def test_a_stop_during_a_reload_ends_everything() -> None:
    world = world_of()
    world.reload()
    world.run(1)
    world.happen(ev.StopAsked(world.now, world.roster.outcome))
    world.run(40)
    assert not world.members()


def test_the_status_names_the_release_of_each_worker_and_how_far_a_reload_is() -> None:
    world = world_of()
    template = world.members("template")[0][2].serial
    world.happen(ev.BecameReady(world.now, "template", 1, template, "abc"))
    world.reload()
    world.run(1)
    document = report(world.roster, POLICY, 1, world.now, {})
    assert document["supervisor"]["reload"] == {
        "number": 2, "pools": ["default"], "imported": True, "moved": 1, "of": 4
    }  # fmt: skip
    assert [role["name"] for role in document["roles"]].count("template") == 2
    world.run(20)
    document = report(world.roster, POLICY, 1, world.now, {})
    assert document["supervisor"]["last_reload"]["outcome"] == "committed"
    assert document["supervisor"]["release"] == "/srv/app"
    assert {worker["release"] for worker in document["pools"][0]["workers"]} == {"2"}


def test_memory_and_reload_together_keep_to_one_budget() -> None:
    world = world_of(4)
    world.reload()
    world.run(1)
    fat = next(found for found in world.members("default") if found[1].number == 4)
    for _ in range(2):
        world.fatten(*fat, 101)
    world.run(0.1)
    assert sum(len(slot.members) > 1 for slot in world.roster.teams["default"].slots) == 1
    world.run(20)
    assert releases(world) == [2] * 4
    assert Cause.RELOAD in {slot.last_exit.cause for slot in world.roster.teams["default"].slots if slot.last_exit}
