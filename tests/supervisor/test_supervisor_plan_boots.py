"""How a boot ends, over histories. Pure."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from toy_history import crashed, history, spawned, world_of
from toy_world import POLICY, POOL, ROLE, World

from workerctl.supervisor import events as ev
from workerctl.supervisor.actions import Finish
from workerctl.supervisor.composition import Group, Ready
from workerctl.supervisor.health import progress
from workerctl.supervisor.members import Words
from workerctl.supervisor.plan import plan
from workerctl.supervisor.states import Cause, Progress


def test_the_only_app_parked_at_boot_ends_everything() -> None:
    roster = history(spawned(1, 0), crashed(1, 1, 78, cause=Cause.BOOT_ERROR), ev.Parked(1, "app", 1))
    (finish,) = plan(roster, POLICY, 10)
    assert isinstance(finish, Finish) and finish.outcome.exit_code == 78


def boot(fails: int, *, foreground: bool = False, kind: str = "default", groups: tuple[Group, ...] = POOL) -> World:
    world = World(groups, foreground=foreground)
    world.fails = lambda name: fails if name == kind else None
    return world.run(120)


@pytest.mark.parametrize(("fails", "exit_code"), [(1, 1), (78, 78), (69, 69)])
def test_a_boot_without_one_ready_worker_ends_everything(fails: int, exit_code: int) -> None:
    world = boot(fails)
    assert world.roster.outcome.exit_code == exit_code
    assert not world.members()


def test_in_the_foreground_a_missing_database_is_waited_for() -> None:
    world = boot(69, foreground=True)
    assert progress(world.roster, POLICY) is Progress.WAITING
    world.fails = lambda _: None
    world.run(60)
    assert progress(world.roster, POLICY) is Progress.RUNNING


@pytest.mark.parametrize(("fails", "exit_code"), [(1, 1), (78, 78)])
def test_a_template_that_fails_at_first_boot_ends_everything(fails: int, exit_code: int) -> None:
    world = boot(fails, kind="template")
    assert world.roster.outcome.exit_code == exit_code
    assert len(world.spawns("template")) == 1


def test_failed_migrations_end_the_boot() -> None:
    groups = (Group("migrate", "once", ready=Ready("exit"), **ROLE), *POOL)
    world = World(groups)
    world.run(0.05)
    migrate = world.members("migrate")[0]
    world.happen(ev.SaidFailed(world.now, "migrate", 1, migrate[2].serial, Words(69, "db:5432 does not answer")))
    world.end(*migrate, 69)
    world.run(10)
    assert (world.roster.outcome.exit_code, world.roster.outcome.message) == (69, "db:5432 does not answer")
    assert not world.spawns("default")


def test_workers_are_forked_beside_migrations_of_a_whole_schema_and_go_after_them() -> None:
    template, pool = POOL
    migrate = Group("migrate", "once", ready=Ready("exit"), after=("template",), **ROLE)
    world = World((template, migrate, replace(pool, after=("template", "migrate"))))
    world.boots_in = lambda name: None if name == "migrate" else 0.1
    world.run(1)
    assert world.members("migrate") and not world.members("default")
    [(_, slot, member)] = world.members("template")
    world.happen(ev.Rehearsed(world.now, "template", slot.number, member.serial))
    world.run(1)
    assert [(member.pid is None, member.went_at) for _, _, member in world.members("default")] == 4 * [(False, None)]
    world.end(*world.members("migrate")[0], 0)
    world.run(1)
    assert world.phases() == 4 * ["ready"]


def test_some_workers_ready_is_degraded_and_stays_up() -> None:
    world = World(POOL)
    world.run(0.15)
    bad = iter([1, 1])
    world.fails = lambda name: next(bad, 1) if name == "default" else None
    world.run(0.02)
    first = world.members("default")[0]
    world.happen(ev.BecameReady(world.now, "default", 1, first[2].serial))
    for team, slot, member in world.members("default")[1:]:
        world.end(team, slot, member, 1)
    world.run(60)
    assert world.roster.stop_at is None
    assert progress(world.roster, POLICY) is Progress.DEGRADED


def test_no_workers_wanted_is_running() -> None:
    world = world_of(instances=0)
    assert progress(world.roster, POLICY) is Progress.RUNNING


def test_with_every_worker_parked_it_ends_where_that_was_asked_for() -> None:
    world = world_of(exit_when_all_parked=True)
    world.fails = lambda name: 1 if name == "default" else None
    for found in world.members("default"):
        world.end(*found, None, 9)
    world.run(60)
    assert world.roster.outcome.exit_code == 1
    assert not world.members()
