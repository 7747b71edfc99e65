"""Judgements over histories: order, hangs, replacing, scaling, stopping. Pure."""

from __future__ import annotations

import pytest
from toy_history import ONE, crashed, history, ready, spawned, world_of
from toy_world import HOUSE, POLICY, POOL, ROLE, World, busy, roster_of

from workerctl.contract import HUNG_SECONDS, LEASE_SECONDS, next_beat
from workerctl.supervisor import events as ev
from workerctl.supervisor.actions import Drain, Kill, Retire, Spawn, TellLost, Trim
from workerctl.supervisor.apply import apply
from workerctl.supervisor.composition import Group
from workerctl.supervisor.members import Words
from workerctl.supervisor.plan import plan
from workerctl.supervisor.states import Cause


def test_nothing_starts_before_an_earlier_set_of_processes_is_gone() -> None:
    assert plan(roster_of(ONE), POLICY, 0) == ()


def test_nobody_of_ours_waits_for_collector_and_agent_but_apps_do() -> None:
    groups = (
        Group("collector", "collector", **ROLE),
        Group("agent", "agent", after=("collector",), **ROLE),
        Group("template", "template", after=("collector", "agent"), **ROLE),
        Group("web", "command", command=("web",), after=("agent",)),
    )
    roster = history(groups=groups)
    assert plan(roster, POLICY, 0) == (Spawn("template", 1), Spawn("collector", 1), Spawn("agent", 1))
    for serial, name in enumerate(("template", "collector", "agent"), 1):
        roster = apply(roster, ev.Spawned(0, name, 1, serial, pid=100 + serial))
        roster = apply(roster, ev.BecameReady(1, name, 1, serial))
    assert Spawn("web", 1) in plan(roster, POLICY, 1)


def test_a_successor_is_begun_before_anybody_is_told_of_the_dead() -> None:
    world = World()
    world.run(5)
    (slot, *_) = world.roster.teams["default"].slots
    dead = slot.members[0]
    roster = apply(world.roster, ev.Exited(world.now, "default", 1, dead.serial, None, 9, Cause.CRASH, 0.0))
    assert [type(step) for step in plan(roster, POLICY, world.now)] == [Spawn, TellLost]


def test_a_stop_we_asked_for_is_not_a_death() -> None:
    roster = history(
        spawned(1, 0), ready(1, 1), ev.DrainSent(2, "app", 1, 1, Cause.ASKED), crashed(1, 3, 0, cause=Cause.ASKED)
    )
    assert roster.teams["app"].slots[0].faults == ()
    assert Spawn("app", 1) in plan(roster, POLICY, 3)


def test_a_boot_that_takes_too_long_is_killed() -> None:
    roster = history(spawned(1, 0))
    assert plan(roster, POLICY, 9.9) == ()
    assert plan(roster, POLICY, 10) == (Kill("app", 1, 1, Cause.BOOT_TIMEOUT),)


def test_a_drain_that_takes_too_long_is_killed() -> None:
    roster = history(spawned(1, 0), ready(1, 1), ev.Booted(1), ev.DrainSent(5, "app", 1, 1, Cause.ASKED))
    assert plan(roster, POLICY, 34.9) == ()
    assert plan(roster, POLICY, 35) == (Kill("app", 1, 1, Cause.ASKED),)


def test_an_app_is_never_started_beside_its_predecessor() -> None:
    roster = history(spawned(1, 0), ready(1, 1), ev.Booted(1), ev.RestartAsked(5, "app"))
    assert plan(roster, POLICY, 5) == (Drain("app", 1, 1, Cause.ASKED),)


def test_groups_start_in_order_and_stop_in_reverse() -> None:
    world = world_of(HOUSE)
    order = [action.group for _, action, _ in world.performed if isinstance(action, Spawn)]
    assert order == ["collector", "postgres", "migrate", "template", "agent", *["default"] * 4, "web"]
    world.performed.clear()
    world.happen(ev.StopAsked(world.now, Words(0, "")))
    world.run(10)
    order = [action.group for _, action, _ in world.performed if isinstance(action, Drain)]
    assert order == ["web", *["default"] * 4, "template", "agent", "postgres", "collector"]
    assert not world.members()


def test_migrations_run_once_however_often_postgres_restarts() -> None:
    world = world_of(HOUSE)
    for _ in range(3):
        world.end(*world.members("postgres")[0], None, 9)
        world.run(5)
    assert len(world.spawns("migrate")) == 1


def test_a_crashed_worker_is_replaced_while_the_agent_is_down() -> None:
    world = world_of(HOUSE)
    world.boots_in = lambda name: None if name == "agent" else 0.1
    world.end(*world.members("agent")[0], None, 9)
    world.end(*world.members("default")[0], None, 9)
    world.run(1)
    assert world.phases() == ["ready"] * 4


def test_a_beat_comes_every_five_seconds_and_three_are_missed_before_half_a_lease_is_over() -> None:
    assert [next_beat(now) for now in (10.0, 14.9, 15.0)] == [15.0, 15.0, 20.0]
    assert (HUNG_SECONDS, LEASE_SECONDS) == (15.0, 30.0)


def test_a_silent_worker_is_hung_and_killed() -> None:
    world = world_of()
    world.happen(ev.Slept(world.now, 0))
    world._queue.clear()  # nobody beats any more
    world.run(14.9)
    assert world.phases() == ["ready"] * 4
    world.run(1)
    assert [slot.last_exit.cause for slot in world.roster.teams["default"].slots if slot.last_exit] == ["hung"] * 4


def test_nobody_is_hung_because_the_supervisor_slept() -> None:
    world = world_of()
    world._queue.clear()
    world.now += 100
    world.happen(ev.Slept(world.now, 100))
    assert plan(world.roster, POLICY, world.now) == ()


def test_a_template_that_does_not_answer_is_killed_and_its_forks_are_asked_again() -> None:
    world = World(POOL)
    world.forks_answered = False
    world.run(10)
    assert world.phases() == ["starting"] * 4
    world.forks_answered = True
    world.run(10)
    assert world.phases() == ["ready"] * 4
    assert len(world.spawns("template")) == 2


def test_a_fat_worker_gets_a_successor_first_and_then_leaves() -> None:
    world = world_of()
    fat = world.members("default")[2]
    world.performed.clear()
    world.fatten(*fat, 101)
    world.run(0.01)
    assert [action for _, action, _ in world.performed] == [Trim("default", 3, fat[2].serial)]
    world.fatten(*fat, 101)
    world.run(1)
    actions = [action for _, action, _ in world.performed if isinstance(action, Spawn | Drain)]
    assert actions == [
        Spawn("default", 3, replaces=Cause.MEMORY_SOFT),
        Drain("default", 3, fat[2].serial, Cause.MEMORY_SOFT),
    ]
    assert world.roster.teams["default"].slots[2].last_exit.cause == "memory-soft"  # type: ignore[union-attr]


def test_one_sample_over_the_limit_between_two_below_replaces_nobody() -> None:
    world = world_of()
    worker = world.members("default")[0]
    for rss_bytes in (101, 99, 101, 99):
        world.fatten(*worker, rss_bytes)
        world.run(1)
    assert len(world.spawns()) == 4


@pytest.mark.parametrize(("instances", "at_once"), [(1, 1), (4, 1), (10, 2), (20, 4)])
def test_a_restart_keeps_all_but_a_fifth_serving(instances: int, at_once: int) -> None:
    world = world_of(instances=instances)
    serving, double = [], []

    def look() -> None:
        slots = world.roster.teams["default"].slots
        serving.append(sum(slot.is_ready for slot in slots))
        double.append(sum(len(slot.members) > 1 for slot in slots))

    world.on_settled = look
    world.happen(ev.RestartAsked(world.now, "default"))
    world.run(20)
    assert min(serving) == instances
    assert max(double) == at_once
    assert len(world.spawns()) == 2 * instances


def test_a_successor_that_fails_costs_no_worker() -> None:
    world = world_of()
    world.fails = lambda name: 1 if name == "default" else None
    world.happen(ev.RestartAsked(world.now, "default"))
    world.run(3600)
    assert all(slot.is_ready for slot in world.roster.teams["default"].slots)
    assert len(world.spawns()) < 100


def test_scaling_down_drains_the_idlest_and_among_equals_the_highest() -> None:
    world = world_of()
    busy(world, 4, 2)
    busy(world, 2, 1)
    world.performed.clear()
    world.happen(ev.Scaled(world.now, "default", 2))
    world.run(1)
    assert [action for _, action, _ in world.performed if isinstance(action, Retire)] == [
        Retire("default", 3),
        Retire("default", 1),
    ]
    assert [slot.number for slot in world.roster.teams["default"].slots] == [2, 4]


def test_scaling_up_fills_the_lowest_free_slots() -> None:
    world = world_of()
    busy(world, 4, 1)
    world.happen(ev.Scaled(world.now, "default", 1))
    world.run(1)
    world.happen(ev.Scaled(world.now, "default", 3))
    world.run(1)
    assert [slot.number for slot in world.roster.teams["default"].slots] == [1, 2, 4]
    assert world.phases() == ["ready"] * 3


def test_scaling_back_up_does_not_wait_for_drains() -> None:
    world = world_of()
    world.drains_in = lambda _: 20
    world.happen(ev.Scaled(world.now, "default", 1))
    world.run(1)
    world.happen(ev.Scaled(world.now, "default", 4))
    world.run(1)
    assert world.phases() == ["ready"] * 4


def test_a_second_signal_leaves_a_second_to_drain() -> None:
    world = world_of()
    world.drains_in = lambda _: None
    world.happen(ev.StopAsked(world.now, Words(0, "")))
    world.run(5)
    assert world.phases() == ["draining"] * 4
    world.happen(ev.Hurried(world.now))
    world.run(2.2)
    assert not world.members()


def test_the_agent_stays_until_the_last_workers_are_released_but_not_for_ever() -> None:
    world = world_of(HOUSE)
    world.happen(ev.StopAsked(world.now, Words(0, "")))
    world.run(0.42)
    assert world.roster.lost and not world.members("default")
    assert world.members("agent")[0][2].is_ready
    world.run(10)
    assert not world.members() and not world.roster.lost


def test_lost_workers_are_told_until_released_and_again_to_a_fresh_agent() -> None:
    world = world_of(HOUSE)
    assert world.roster.introduced is not None
    worker = world.members("default")[0]
    world.end(*worker, None, 9)
    agent = world.members("agent")[0]
    told = [a for a in plan(world.roster, POLICY, world.now) if type(a).__name__ == "TellLost"]
    assert [action.lost.incarnation for action in told] == [worker[2].incarnation]
    world.happen(ev.LostTold(world.now, worker[2].incarnation or ""))
    assert not [a for a in plan(world.roster, POLICY, world.now + 0.9) if type(a).__name__ == "TellLost"]
    assert [a for a in plan(world.roster, POLICY, world.now + 1) if type(a).__name__ == "TellLost"]
    world.end(*agent, None, 9)
    assert not [a for a in plan(world.roster, POLICY, world.now + 1) if type(a).__name__ == "TellLost"]
    world.run(2)
    assert world.roster.lost == ()


def test_a_drain_gets_back_the_time_that_the_supervisor_slept() -> None:
    roster = history(spawned(1, 0), ready(1, 1), ev.Booted(1), ev.DrainSent(5, "app", 1, 1, Cause.ASKED))
    assert plan(apply(roster, ev.Slept(105, 100)), POLICY, 105) == ()
