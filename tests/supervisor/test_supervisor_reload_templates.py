"""Templates and their spares, and several pools, over histories with a reload. Pure."""

from __future__ import annotations

from toy_reload import WITH_SPARE, outcome, releases, world_of
from toy_world import HOUSE, POLICY, World

from workerctl.supervisor import events as ev
from workerctl.supervisor.actions import Spawn
from workerctl.supervisor.composition import Group
from workerctl.supervisor.health import progress
from workerctl.supervisor.plan import plan
from workerctl.supervisor.states import Phase, Progress


def test_a_dead_template_is_forked_from_its_spare_and_workers_do_not_wait() -> None:
    world = world_of()
    world.performed.clear()
    first = world.members("template")[0]
    world.end(*first, None, 9)
    world.end(*world.members("default")[0], None, 9)
    spawns = [action.group for action in plan(world.roster, POLICY, world.now) if isinstance(action, Spawn)]
    assert spawns == ["template", "default"]
    world.run(1)
    assert len(world.members("template")) == 2
    assert all(member.template is not None for _, _, member in world.members("template"))


def test_a_spare_that_is_ready_before_its_pid_is_known_counts_from_then_on() -> None:
    world = world_of()
    world.end(*world.members("template")[0], None, 9)
    world.happen(ev.Spawned(world.now, "template", 1, 99, None, None, None, 1, 2))
    world.happen(ev.BecameReady(world.now, "template", 1, 99))
    assert world.roster.teams["template"].slots[0].phase is Phase.STARTING
    world.happen(ev.Forked(world.now, "template", 1, 99, 4711))
    assert world.roster.teams["template"].slots[0].phase is Phase.READY


def test_a_restarted_template_is_forked_from_its_spare_one_after_the_other() -> None:
    world = world_of()
    serving: list[int] = []
    world.on_settled = lambda: serving.append(sum(member.is_ready for _, _, member in world.members("template")))
    before = {member.serial for _, _, member in world.members("template")}
    world.happen(ev.RestartAsked(world.now, "template"))
    world.run(5)
    assert min(serving) == 1
    assert before.isdisjoint({member.serial for _, _, member in world.members("template")})


def test_other_code_on_disk_than_the_dead_templates_had_is_a_reload_with_its_canary() -> None:
    world = World(WITH_SPARE)
    world.code = "aaa"
    world.run(3)
    world.code = "bbb"
    for found in world.members("template"):
        world.end(*found, None, 9)
    world.run(1)
    assert progress(world.roster, POLICY) is Progress.RELOADING
    codes = [member.fingerprint for _, _, member in world.members("default")]
    assert (codes.count("aaa"), codes.count("bbb")) == (4, 1)
    world.run(20)
    assert {member.fingerprint for _, _, member in world.members("default")} == {"bbb"}
    assert outcome(world) == (2, "committed")


def test_the_same_code_on_disk_as_the_dead_templates_had_is_none() -> None:
    world = World(WITH_SPARE)
    world.code = "aaa"
    world.run(3)
    for found in world.members("template"):
        world.end(*found, None, 9)
    world.run(5)
    assert world.roster.reloaded is None and progress(world.roster, POLICY) is Progress.RUNNING
    assert len(world.members("template")) == 2


def test_two_pools_share_one_budget_and_one_canary_after_the_other() -> None:
    content = Group("content", "pool", template="t2", after=("t2",), instances=5)
    t2 = Group("t2", "template", role=True, command=("x",))
    pool = Group("default", "pool", template="template", after=("template",), instances=5)
    world = World((Group("template", "template", role=True, command=("x",)), t2, pool, content)).run(3)
    double = []

    def look() -> None:
        double.append(sum(len(s.members) > 1 for team in world.roster.teams.values() for s in team.slots))

    world.on_settled = look
    world.reload()
    world.run(1)
    assert (releases(world).count(2), releases(world, "content").count(2)) == (1, 0)
    world.run(30)
    assert releases(world) + releases(world, "content") == [2] * 10
    assert max(double) == 2


def test_a_reload_of_one_pool_leaves_the_other_alone() -> None:
    other = Group("other", "pool", template="template", after=("template",), instances=2)
    world = World((*HOUSE, other)).run(3)
    world.reload("default")
    world.run(20)
    assert (releases(world), releases(world, "other")) == ([2] * 4, [1] * 2)
    assert "template" in world.roster.teams and "template:2" in world.roster.teams
