"""Judgements over histories: restart policy, replacing, scaling, stopping. Pure."""

from __future__ import annotations

import pytest
from toy_world import HOUSE, POLICY, POOL, ROLE, World, busy, roster_of

from workerctl.supervisor import events as ev
from workerctl.supervisor.actions import Drain, Finish, Kill, Park, Retire, Spawn, TellLost, Trim
from workerctl.supervisor.apply import apply
from workerctl.supervisor.composition import Group, Ready
from workerctl.supervisor.health import progress
from workerctl.supervisor.members import Words
from workerctl.supervisor.plan import plan
from workerctl.supervisor.roster import Roster
from workerctl.supervisor.states import Cause, Progress

ONE = (Group("app", "command", command=("app",), boot_timeout_seconds=10, stop_timeout_seconds=30),)


def history(*events: ev.Event, groups: tuple[Group, ...] = ONE, **fields: object) -> Roster:
    roster = apply(roster_of(groups, **fields), ev.GotAlone(0))
    for event in events:
        roster = apply(roster, event)
    return roster


def spawned(serial: int, at: float, **fields: object) -> ev.Spawned:
    return ev.Spawned(at, "app", 1, serial, **({"pid": 100 + serial} | fields))


def ready(serial: int, at: float) -> ev.BecameReady:
    return ev.BecameReady(at, "app", 1, serial)


def crashed(serial: int, at: float, code: int | None = 1, jitter: float = 1.0, cause: Cause = Cause.CRASH) -> ev.Exited:
    return ev.Exited(at, "app", 1, serial, code, None, cause, jitter)


def crashes(count: int) -> list[ev.Event]:
    """So many crashes, one second apart, the last at count - 1."""
    return [fact for n in range(count) for fact in (spawned(n, n), ready(n, n), crashed(n, n))]


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


def test_the_first_crash_is_followed_by_a_new_process_at_once() -> None:
    assert Spawn("app", 1) in plan(history(*crashes(1)), POLICY, 0)


@pytest.mark.parametrize(("count", "delay_seconds"), [(2, 0.5), (3, 1.0), (4, 2.0)])
def test_later_crashes_wait_twice_as_long_each(count: int, delay_seconds: float) -> None:
    roster = history(*crashes(count))
    last = count - 1
    assert Spawn("app", 1) not in plan(roster, POLICY, last + delay_seconds - 0.01)
    assert Spawn("app", 1) in plan(roster, POLICY, last + delay_seconds)


def test_jitter_takes_any_part_of_the_wait() -> None:
    roster = history(*crashes(1), spawned(8, 1), crashed(8, 1, jitter=0.1))
    assert Spawn("app", 1) in plan(roster, POLICY, 1.05)


def test_five_crashes_in_a_minute_park_the_slot() -> None:
    assert Spawn("app", 1) in plan(history(*crashes(4), ev.Booted(5)), POLICY, 10)
    assert plan(history(*crashes(5), ev.Booted(5)), POLICY, 10) == (Park("app", 1),)


def test_the_only_app_parked_at_boot_ends_everything() -> None:
    roster = history(spawned(1, 0), crashed(1, 1, 78, cause=Cause.BOOT_ERROR), ev.Parked(1, "app", 1))
    (finish,) = plan(roster, POLICY, 10)
    assert isinstance(finish, Finish) and finish.outcome.exit_code == 78


def test_crashes_of_a_process_that_lived_long_do_not_add_up() -> None:
    facts = [fact for n in range(8) for fact in (spawned(n, 61 * n), ready(n, 61 * n), crashed(n, 61 * n + 60.5))]
    roster = history(*facts, ev.Booted(0))
    assert plan(roster, POLICY, 61 * 7 + 60.5) == (Spawn("app", 1),)


def test_a_parked_slot_is_probed_every_five_minutes_and_parked_by_one_more_crash() -> None:
    parked = history(*crashes(5), ev.Booted(5), ev.Parked(10, "app", 1))
    assert plan(parked, POLICY, 309) == ()
    probing = apply(parked, ev.Unparked(310, "app", 1))
    assert plan(probing, POLICY, 310) == (Spawn("app", 1),)
    again = apply(apply(probing, spawned(9, 310)), crashed(9, 311))
    assert plan(again, POLICY, 311) == (Park("app", 1),)


def test_an_unusable_configuration_parks_at_once_and_is_never_tried_again() -> None:
    facts = (spawned(1, 0), crashed(1, 1, 78, cause=Cause.BOOT_ERROR), ev.Booted(1))
    roster = history(*facts)
    assert plan(roster, POLICY, 1) == (Park("app", 1),)
    assert plan(apply(roster, ev.Parked(1, "app", 1)), POLICY, 1e6) == ()


@pytest.mark.parametrize("event", [ev.ResetAsked(20, "app"), ev.RestartAsked(20, "app")])
def test_reset_and_restart_unpark(event: ev.Event) -> None:
    roster = history(*crashes(5), ev.Booted(5), ev.Parked(10, "app", 1), event)
    assert plan(roster, POLICY, 20) == (Spawn("app", 1),)


def test_a_lost_database_costs_no_crash_budget() -> None:
    facts = [
        fact for n in range(30) for fact in (spawned(n, n), crashed(n, n, 69, cause=Cause.DATABASE_AWAY, jitter=0.5))
    ]
    roster = history(*facts, ev.Booted(0))
    assert roster.teams["app"].slots[0].faults == ()
    assert plan(roster, POLICY, 29 + 7) == ()
    assert plan(roster, POLICY, 29 + 7.5) == (Spawn("app", 1),)
    assert progress(roster, POLICY) is Progress.WAITING or progress(roster, POLICY) is Progress.DEGRADED


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


def world_of(groups: tuple[Group, ...] = POOL, instances: int = 4, **fields: object) -> World:
    groups = tuple(
        Group("default", "pool", template="template", after=group.after, instances=instances, max_memory_bytes=100)
        if group.name == "default"
        else group
        for group in groups
    )
    return World(groups, **fields).run(3)


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


def test_with_every_worker_parked_it_ends_where_that_was_asked_for() -> None:
    world = world_of(exit_when_all_parked=True)
    world.fails = lambda name: 1 if name == "default" else None
    for found in world.members("default"):
        world.end(*found, None, 9)
    world.run(60)
    assert world.roster.outcome.exit_code == 1
    assert not world.members()


def test_a_drain_gets_back_the_time_that_the_supervisor_slept() -> None:
    roster = history(spawned(1, 0), ready(1, 1), ev.Booted(1), ev.DrainSent(5, "app", 1, 1, Cause.ASKED))
    assert plan(apply(roster, ev.Slept(105, 100)), POLICY, 105) == ()
