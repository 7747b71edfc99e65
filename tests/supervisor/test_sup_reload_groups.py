"""Pools and apps that come, go and change with a reload, over histories. Pure."""

from __future__ import annotations

import msgspec
import pytest
from toy_world import HOUSE, POLICY, World

from workerctl.supervisor import events as ev
from workerctl.supervisor.actions import Go, Spawn
from workerctl.supervisor.composition import Group
from workerctl.supervisor.health import progress
from workerctl.supervisor.reload_asked import NotReloadable
from workerctl.supervisor.states import Cause, Progress

LOGS = Group("logs", "pool", template="template", after=("template", "agent"), instances=2)
SIDE = Group("side", "command", command=("side",), after=("logs",))
SIDE_BY_DEFAULT = msgspec.structs.replace(SIDE, after=("default",))
OTHER_TEMPLATE = Group("template-logs", "template", role=True, command=("x",), after=("migrate",), env={"A": "1"})


def serials(world: World, name: str) -> set[int]:
    return {member.serial for _, _, member in world.members(name)}


def test_a_new_pool_and_an_app_after_it_begin_once_the_release_is_committed() -> None:
    world = World(HOUSE).run(3)
    web = serials(world, "web")
    world.groups = (*HOUSE, LOGS, SIDE)
    world.reload()
    world.run(2)
    assert "logs" not in world.roster.teams, "nothing of it runs before the code has proven itself"
    world.run(20)
    assert (world.phases("logs"), world.phases("side")) == (["ready", "ready"], ["ready"])
    assert {member.release for _, _, member in world.members("logs")} == {2}
    names = list(world.roster.teams)
    assert names.index("logs") < names.index("side")
    assert serials(world, "web") == web
    assert progress(world.roster, POLICY) is Progress.RUNNING


def test_a_new_pool_with_other_variables_brings_its_template() -> None:
    world = World(HOUSE).run(3)
    pool = msgspec.structs.replace(LOGS, template="template-logs", after=("template-logs", "agent"))
    world.groups = (*HOUSE[:4], OTHER_TEMPLATE, *HOUSE[4:], pool)
    world.reload()
    world.run(20)
    assert world.phases("logs") == ["ready", "ready"]
    assert [name for name in world.roster.teams if name.startswith("template")] == ["template:2", "template-logs:2"]


def test_pools_and_apps_that_are_gone_from_the_config_leave_and_take_their_template_along() -> None:
    pool = msgspec.structs.replace(LOGS, template="template-logs", after=("template-logs", "agent"))
    world = World((*HOUSE[:4], OTHER_TEMPLATE, *HOUSE[4:], pool, SIDE)).run(3)
    assert world.phases("side") == ["ready"]
    before = serials(world, "default")
    world.groups = HOUSE
    world.reload()
    world.run(20)
    assert {"logs", "side", "template-logs", "template-logs:2"}.isdisjoint(world.roster.teams)
    assert world.phases() == ["ready"] * 4 and serials(world, "default").isdisjoint(before)


def test_a_pool_that_comes_back_while_it_still_drains_is_whole_again() -> None:
    world = World((*HOUSE, LOGS)).run(3)
    world.drains_in = lambda group: 60.0 if group == "logs" else 0.2
    world.groups = HOUSE
    world.reload()
    world.run(8)
    assert world.roster.teams["logs"].retired
    world.groups = (*HOUSE, LOGS)
    world.reload()
    world.run(80)
    assert world.phases("logs") == ["ready", "ready"]
    assert {member.release for _, _, member in world.members("logs")} == {3}


def test_what_a_failed_reload_would_have_brought_or_removed_stays_as_it_was() -> None:
    world = World((*HOUSE, LOGS)).run(3)
    logs = serials(world, "logs")
    world.groups = (*HOUSE, SIDE)
    world.release_fails = lambda kind, number: 1 if kind == "template" and number == 2 else None
    world.reload()
    world.run(20)
    assert world.roster.reloaded is not None and world.roster.reloaded.outcome == "failed"
    assert "side" not in world.roster.teams and serials(world, "logs") == logs


def test_an_app_of_several_instances_changes_one_by_one_and_takes_its_new_number() -> None:
    app = Group("app", "command", command=("old",), instances=3)
    world = World((*HOUSE, app)).run(3)
    changed = msgspec.structs.replace(app, command=("new",), instances=4)
    world.groups = (*HOUSE, changed)
    fewest = 3

    def look() -> None:
        nonlocal fewest
        fewest = min(fewest, sum(slot.is_ready for slot in world.roster.teams["app"].wanted))

    world.on_settled = look
    world.reload()
    world.run(20)
    assert all(member.group == changed for _, _, member in world.members("app"))
    assert world.phases("app") == ["ready"] * 4
    assert fewest >= 2
    ends = {slot.last_exit.cause for slot in world.roster.teams["app"].slots if slot.last_exit}
    assert ends == {Cause.RELOAD}


def test_an_agent_that_was_given_up_tries_the_new_code() -> None:
    world = World(HOUSE).run(3)
    world.fails = lambda group: 78 if group == "agent" else None
    for found in world.members("agent"):
        world.end(*found, 78, None)
    world.run(10)
    assert world.phases("agent") == ["parked"], "the schema has left its code behind"
    world.fails = lambda _: None
    newer = (msgspec.structs.replace(group, command=("newer",)) if group.name == "agent" else group for group in HOUSE)
    world.groups = tuple(newer)
    world.reload()
    world.run(20)
    assert world.phases("agent") == ["ready"]


def test_an_app_whose_new_definition_does_not_start_costs_one_instance() -> None:
    app = Group("app", "command", command=("old",), instances=3)
    world = World((*HOUSE, app)).run(3)
    world.groups = (*HOUSE, msgspec.structs.replace(app, command=("new",)))
    world.fails = lambda group: 1 if group == "app" else None
    world.reload()
    world.run(60)
    assert sum(slot.is_ready for slot in world.roster.teams["app"].wanted) == 2


@pytest.mark.parametrize("broken", [False, True])
def test_a_pool_without_workers_proves_the_new_code_with_one_that_claims_nothing(broken: bool) -> None:
    groups = tuple(msgspec.structs.replace(g, instances=0) if g.kind == "pool" else g for g in HOUSE)
    world = World(groups).run(3)
    if broken:
        world.fails = lambda group: 1 if group == "default" else None
    world.reload()
    world.run(20)
    taken = [action for _, action, _ in world.performed if getattr(action, "group", "") == "default"]
    assert [action.release for action in taken if isinstance(action, Spawn)] == [2]
    assert [action.claims for action in taken if isinstance(action, Go)] == [False]
    assert world.roster.reloaded is not None
    assert world.roster.reloaded.outcome == ("failed" if broken else "committed")
    assert world.roster.teams["default"].slots == ()


def test_scaling_up_meanwhile_counts_the_canary_for_nothing() -> None:
    groups = tuple(msgspec.structs.replace(g, instances=0) if g.kind == "pool" else g for g in HOUSE)
    world = World(groups).run(3)
    world.reload()
    world.run(0.5)
    world.happen(ev.Scaled(world.now, "default", 2))
    world.run(20)
    assert world.phases() == ["ready", "ready"]
    assert not any(slot.canary for slot in world.roster.teams["default"].slots)


def test_a_reload_of_one_pool_brings_and_removes_nothing_else() -> None:
    world = World((*HOUSE, SIDE_BY_DEFAULT)).run(3)
    side = serials(world, "side")
    world.groups = (*HOUSE, LOGS)
    world.reload("default")
    world.run(20)
    assert world.roster.reloaded is not None and world.roster.reloaded.outcome == "committed"
    assert serials(world, "side") == side and "logs" not in world.roster.teams


def test_what_is_new_or_gone_is_not_reloaded_alone() -> None:
    world = World(HOUSE).run(3)
    world.groups = (*HOUSE, LOGS)
    with pytest.raises(NotReloadable, match=r"'logs' cannot be reloaded alone; .* without a name brings and removes"):
        world.reload("logs")
    world.groups = HOUSE[:-1]
    with pytest.raises(NotReloadable, match="'web' cannot be reloaded alone"):
        world.reload("web")
