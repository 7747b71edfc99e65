"""Simulated hours of random trouble: what must hold always, and that everything comes back once trouble ends.

What holds, as it is checked below:
- a slot has at most one process that starts, and at most two in all; an app never has two;
- in a pool never more processes that stay than are desired, plus one budget for every reason together;
- whoever is replaced by plan goes only once a successor serves, or where no second one fits into the memory;
- at most max(1, 20 %) of all workers are away at once for planned reasons;
- one canary of a new release serves through its probation before a second is started;
- who is replaced by a canary stays through its probation, and no release is committed without one;
- nobody is killed who beats, boots or drains within its time, and everybody who does not is;
- only faults spend the fault budget; a slot that spent it is parked, is left alone, and is probed every five minutes;
- nobody crashes more often in a minute than the budget allows;
- once trouble ends everything is as it was asked to be, and a stop leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from toy_world import HOUSE, POLICY, World, busy

from workerctl.supervisor import actions as act
from workerctl.supervisor import apply, fat, living, plan, reload, restart
from workerctl.supervisor import events as ev
from workerctl.supervisor.composition import Group, Policy
from workerctl.supervisor.living import BEATING
from workerctl.supervisor.members import Member, Memory, Slot
from workerctl.supervisor.roster import Roster, Team
from workerctl.supervisor.states import Cause, Phase

WITH_SPARE = tuple(
    msgspec.structs.replace(group, instances=2) if group.kind == "template" else group for group in HOUSE
)
LOGS = Group("logs", "pool", template="template", after=("template", "agent"), instances=2)
SIDE = Group("side", "command", command=("side",), after=("default",), instances=2)
SHARE = st.floats(0, 0.999)
PLANNED = frozenset({Cause.RELOAD, Cause.LIFETIME, Cause.MEMORY_SOFT, Cause.ASKED})
EPSILON_SECONDS = 0.001


class Trouble(RuleBasedStateMachine):
    """Every rule is something that happens to a machine in an ordinary bad week."""

    simulated_hours = 0.0
    policy = POLICY

    @initialize(seed=st.integers(0, 2**16), instances=st.integers(0, 12))
    def begin(self, seed: int, instances: int) -> None:
        self.bad: set[tuple[str, int]] = set()  # releases whose template or workers end with 1
        self.world = World(WITH_SPARE, self.policy, seed)
        self.world.release_fails = lambda kind, number: 1 if (kind, number) in self.bad else None
        self.world.on_settled = self.check
        self.world.happen(ev.Scaled(0.0, "default", instances))
        self.world.run(5)

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 20.0, 90.0, 900.0, 3600.0, 6 * 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(share=SHARE, code=st.sampled_from([None, 0, 1, 69, 78]))
    def a_process_ends(self, share: float, code: int | None) -> None:
        found = self.world.members()
        if found:
            self.world.end(*found[int(share * len(found))], code, None if code is not None else 9)
        self.world.run(0.02)

    @rule(share=SHARE)
    def a_process_is_stopped(self, share: float) -> None:
        found = [place for place in self.world.members() if place[0].group.kind in BEATING]
        if found:
            self.world.silent.add(found[int(share * len(found))][2].serial)
        self.world.run(0.02)

    @rule(code=st.sampled_from([None, 1, 69]))
    def every_worker_ends(self, code: int | None) -> None:
        for found in self.world.members("default"):
            self.world.end(*found, code, None if code is not None else 11)
        self.world.run(0.02)

    @rule(share=SHARE)
    def a_worker_grows_too_fat(self, share: float) -> None:
        found = self.world.members("default")
        for _ in range(2 if found else 0):  # it is asked to give back, then it is replaced
            self.world.fatten(*found[int(share * len(found))], 101)
            self.world.run(0.01)

    @rule()
    def every_worker_grows_too_fat(self) -> None:
        for _ in range(2):
            for found in self.world.members("default"):
                self.world.fatten(*found, 101)
            self.world.run(0.01)

    @rule(free=st.sampled_from([0.02, 0.12, 0.5]))
    def the_machine_has_memory(self, free: float) -> None:
        self.world.happen(ev.MachineSampled(self.world.now, Memory(1000, int(1000 * free))))
        self.world.run(0.01)

    @rule(count=st.integers(0, 12))
    def somebody_scales(self, count: int) -> None:
        self.world.happen(ev.Scaled(self.world.now, "default", count))
        self.world.run(0.01)

    @rule(name=st.sampled_from(["default", "template", "web", "agent", "collector"]))
    def somebody_restarts(self, name: str) -> None:
        self.world.happen(ev.RestartAsked(self.world.now, name))
        self.world.run(0.01)

    @rule(broken=st.sampled_from([None, "template", "pool"]))
    def somebody_reloads(self, broken: str | None) -> None:
        if self.world.roster.booted_at is None or self.world.roster.stop_at is not None:
            return
        number = self.world.reload()
        if broken is not None:
            self.bad.add((broken, number))
        self.world.run(0.01)

    @rule(pool=st.booleans(), app=st.booleans())
    def somebody_changes_the_config(self, pool: bool, app: bool) -> None:
        if self.world.roster.booted_at is None or self.world.roster.stop_at is not None:
            return
        self.world.groups = (*WITH_SPARE, *((LOGS,) if pool else ()), *((SIDE,) if app else ()))
        self.world.reload()
        self.world.run(0.01)

    @rule(slot=st.integers(1, 12), jobs=st.integers(0, 8))
    def a_worker_gets_work(self, slot: int, jobs: int) -> None:
        busy(self.world, slot, jobs)

    @rule(seconds=st.sampled_from([None, 0.1, 3.0, 59.0]))
    def boots_take(self, seconds: float | None) -> None:
        self.world.boots_in = lambda name: seconds if name == "default" else 0.1

    @rule(seconds=st.sampled_from([None, 0.0, 10.0, 45.0]))
    def drains_take(self, seconds: float | None) -> None:
        self.world.drains_in = lambda name: seconds if name == "default" else 0.1

    @rule(code=st.sampled_from([None, 1, 69]))
    def workers_fail_at_boot(self, code: int | None) -> None:
        self.world.fails = lambda name: code if name == "default" else None

    @rule()
    def workers_crash_for_some_minutes(self) -> None:
        """Long enough for slots to be parked and probed."""
        self.world.fails = lambda name: 1 if name == "default" else None
        self.every_worker_ends(None)
        self.world.run(self.world.policy.park_probe_seconds + 200)
        self.world.fails = lambda _: None

    @rule(answered=st.booleans())
    def the_template_answers(self, answered: bool) -> None:
        self.world.forks_answered = answered

    @invariant()
    def holds(self) -> None:
        self.check()

    def check(self) -> None:
        if not hasattr(self, "world"):
            return
        team = self.world.roster.teams["default"]
        assert sum(1 for _ in team.wanted) == team.desired
        assert sum(slot.canary and not slot.retired for slot in team.slots) <= 1
        for other in self.world.roster.teams.values():
            self.check_slots(other)
        self.check_actions()

    def check_slots(self, team: Team) -> None:
        numbers = [slot.number for slot in team.slots]
        assert numbers == sorted(set(numbers))
        for slot in team.slots:
            assert len(slot.members) <= 2
            assert len([member for member in slot.members if member.phase is Phase.STARTING]) <= 1
            if team.group.kind != "pool":
                assert len(slot.members) <= 1, "two of an app at once"
            self.check_parked(team, slot)
            for member in slot.members:
                self.check_deadlines(member.group or team.group, member)

    def check_deadlines(self, group: Group, member: Member) -> None:
        """Who is not killed yet is still within its time."""
        now = self.world.now - EPSILON_SECONDS
        if member.kill_at is not None or member.pid is None:
            return
        if member.drain_at is not None:
            assert now < member.drain_at + group.stop_timeout_seconds, "a drain without an end"
        elif member.ready_at is None:
            assert now < member.spawned_at + group.boot_timeout_seconds, "a boot without an end"
        elif group.kind in BEATING and member.heartbeat_at is not None:
            patience = self.world.policy.hung_seconds * BEATING[group.kind] + self.world.policy.dump_seconds
            assert now < member.heartbeat_at + patience, "a silence without an end"

    def check_parked(self, team: Team, slot: Slot) -> None:
        roster, now = self.world.roster, self.world.now
        if slot.retired or team.group.role or roster.stop_at is not None:
            return
        if slot.parked_at is None:
            last = slot.faults[-1].at if slot.faults else now
            recent = [fault for fault in slot.faults if last - fault.at < self.world.policy.fault_window_seconds]
            assert len(recent) < self.world.policy.fault_limit, "it crashes on and on"
            return
        if restart.is_unusable(slot):
            return
        late = now - slot.parked_at - self.world.policy.park_probe_seconds
        assert late < EPSILON_SECONDS, f"{team.group.name}/{slot.number} was not probed for {late:g} s"

    def check_actions(self) -> None:
        for at, action, before in self.world.performed:
            match action:
                case act.Spawn() if action.group in before.teams:  # else its release was given up in the same round
                    self.check_spawn(at, action, before)
                case act.Drain():
                    self.check_drain(action, before)
                case act.Unpark():
                    slot = before.slot(action.group, action.slot)
                    assert slot is not None and slot.parked_at is not None
                    assert at - slot.parked_at > self.world.policy.park_probe_seconds - EPSILON_SECONDS, (
                        "probed too early"
                    )
                case act.Kill():
                    self.check_kill(at, action, before)
                case act.Commit():
                    self.check_commit(at, before)
        self.world.performed.clear()

    def check_spawn(self, at: float, action: act.Spawn, before: Roster) -> None:
        team, slot = before.teams[action.group], before.slot(action.group, action.slot)
        assert slot is not None and not slot.retired and not slot.done
        assert slot.parked_at is None, "a process was started in a parked slot"
        if action.release != team.release:
            self.check_canary(before, action)
        away, budget = _away_and_budget(before)
        staying = sum(not member.is_leaving for seat in team.wanted for member in seat.members)
        assert staying < team.desired + budget, "more than desired plus the budget"
        if action.replaces is not None:
            assert away < budget, f"{away} are away, and another is replaced"

    def check_drain(self, action: act.Drain, before: Roster) -> None:
        """A worker that is replaced by plan serves until another does."""
        team, slot = before.teams[action.group], before.slot(action.group, action.slot)
        member = before.member(action.group, action.slot, action.serial)
        assert slot is not None and member is not None
        planned = action.cause in PLANNED and before.stop_at is None and not team.retired and not slot.retired
        if team.group.kind != "pool" or not planned or not member.is_ready or slot.members[0] is not member:
            return
        successor = any(other.is_ready for other in slot.members if other is not member)
        if successor and before.reload is not None and slot.members[-1].release == before.reload.number:
            assert _has_served(before, self.world.now), f"{action} on probation"
        cramped = action.cause is Cause.MEMORY_SOFT and not fat.has_room_for_successor(before, team)
        assert successor or cramped, f"{action} without a successor"
        if not successor:
            away, budget = _away_and_budget(before)
            assert away < budget, f"{away} are away, and another leaves without a successor"

    def check_kill(self, at: float, action: act.Kill, before: Roster) -> None:
        team, member = before.teams[action.group], before.member(action.group, action.slot, action.serial)
        assert member is not None and member.kill_at in (None, at), "killed twice"  # one kill for each fork it owes
        group = member.group or team.group
        if action.cause is Cause.HUNG:
            assert (
                at - _heard_of(before, member)
                > self.world.policy.hung_seconds * BEATING[team.group.kind] - EPSILON_SECONDS
            )
        elif action.cause is Cause.BOOT_TIMEOUT:
            assert at - member.spawned_at > group.boot_timeout_seconds - EPSILON_SECONDS, "it boots"
        elif action.cause is Cause.MEMORY_HARD:
            assert member.over_hard_samples >= self.world.policy.memory_samples
        elif member.drain_at is not None and before.hurried_at is None:
            assert at - member.drain_at > group.stop_timeout_seconds - EPSILON_SECONDS, "it drains"

    def check_canary(self, before: Roster, action: act.Spawn) -> None:
        assert before.reload is not None, "a worker of a release that was given up"
        assert action.release == before.reload.number, "a worker of a release that was given up"
        staying = [member for member in _of_the_new_release(before) if not member.is_leaving]
        assert not staying or _has_served(before, self.world.now), "a second one before the canary"

    def check_commit(self, at: float, before: Roster) -> None:
        assert before.reload is not None
        slots = [slot for name in before.reload.pools for slot in before.teams[name].wanted]
        assert _has_served(before, at) or all(slot.parked_at is not None for slot in slots), "committed unproven"

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        Trouble.simulated_hours += world.now / 3600
        world.boots_in, world.drains_in = (lambda _: 0.1), (lambda _: 0.2)
        world.happen(ev.MachineSampled(world.now, Memory(1000, 900)))
        world.fails, world.forks_answered = (lambda _: None), True
        # where every slot had been given up nobody could try the code: then it was committed, and is mended now
        self.bad = {(kind, number) for kind, number in self.bad if number != world.roster.teams["default"].release}
        if world.roster.stop_at is None:
            for name in world.roster.teams:
                world.happen(ev.ResetAsked(world.now, name))  # what exit 78 parked waits for this
            world.run(600)
            assert world.roster.stop_at is None
            assert world.roster.reload is None, "a reload never ends"
            assert len([name for name in world.roster.teams if name.startswith("template")]) == 1
            for team in world.roster.teams.values():
                assert team.all_ready, f"{team.group.name} did not come back: {team}"
                assert len({member.release for slot in team.slots for member in slot.members}) <= 1
                assert all(slot.done or len(slot.members) == 1 for slot in team.slots), "\n".join(
                    str(slot.members) for slot in team.slots
                )
                assert sum(not slot.retired for slot in team.slots) == team.desired == len(team.slots)
            world.happen(ev.StopAsked(world.now, world.roster.outcome))
        world.run(120)
        assert not world.members(), "something is left after the stop"


def _of_the_new_release(roster: Roster) -> list[Member]:
    assert roster.reload is not None
    return [member for name in roster.reload.pools for slot in roster.teams[name].slots for member in slot.members
            if member.release == roster.reload.number]  # fmt: skip


def _has_served(roster: Roster, now: float) -> bool:
    """Whether a worker of the new release has lived through its probation."""
    ready = [member.ready_at for member in _of_the_new_release(roster) if member.ready_at is not None]
    return bool(ready) and now - min(ready) > POLICY.probation_seconds - EPSILON_SECONDS


def _heard_of(roster: Roster, member: Member) -> float:
    """Since when it is silent: the last beat, or the oldest fork that it was asked for and has not answered."""
    owed = [waiting.spawned_at for team in roster.teams.values() for slot in team.slots for waiting in slot.members
            if waiting.template == member.serial and waiting.pid is None]  # fmt: skip
    return min([member.heartbeat_at or 0.0, *owed])


def _away_and_budget(roster: Roster) -> tuple[int, int]:
    """One for all pools of the machine."""
    pools = [team for team in roster.teams.values() if team.group.kind == "pool"]
    away = sum(_is_away(slot) for team in pools for slot in team.wanted)
    return away, max(1, int(sum(team.desired for team in pools) * 0.2))


def _is_away(slot: Slot) -> bool:
    """Nobody serves there, or somebody is on the way to take a place."""
    if slot.members:
        return len(slot.members) > 1 or not slot.is_ready
    return slot.parked_at is None and not slot.awaits_release and not slot.done


QUICK = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,  # the same trouble every time; the long profiles look for new trouble
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phases.explicit, Phases.generate),  # shrinking hours of simulation takes minutes
)
DEEP = settings(QUICK, max_examples=250, stateful_step_count=50, derandomize=False)


class LongTrouble(Trouble):
    """Days of it, with beats so seldom that quiet hours cost next to nothing."""

    policy = Policy(hung_seconds=240.0)

    @rule(hours=st.sampled_from([6, 24, 48]))
    def days_pass(self, hours: int) -> None:
        self.world.run(hours * 3600)


def test_hours_of_trouble() -> None:
    run_state_machine_as_test(Trouble, settings=QUICK)


@pytest.mark.long
def test_thousands_of_hours_of_trouble() -> None:
    before = Trouble.simulated_hours
    run_state_machine_as_test(LongTrouble, settings=DEEP)
    print(f"{Trouble.simulated_hours - before:,.0f} simulated hours")


def _nothing(*_: object, **__: object) -> Iterator[act.Action]:
    return iter(())


MUTATIONS: dict[str, tuple[object, str, object]] = {
    "slots are never parked": (plan, "must_park", lambda *_: False),
    "parked slots are never probed": (plan, "probe_at", lambda *_: float("inf")),
    "parked slots are probed at once": (plan, "probe_at", lambda slot, policy: slot.parked_at),
    "there is no budget": (plan, "_room_to_replace", lambda *_: 99),
    "nobody counts as away": (plan, "_away", lambda _: 0),
    "predecessors do not leave": (plan, "_yield_to_successor", _nothing),
    "successors are not waited for": (plan, "_replacement", lambda roster, team, slot, policy, clock, may_spawn: next(
        (act.Drain(team.group.name, slot.number, member.serial, Cause.ASKED) for member in slot.members
         if member.is_ready and member.spawned_at < team.restart_at), None)),
    "every release may start everywhere at once": (plan, "admits", lambda *_: True),
    "silence is not noticed": (living, "_watch_member", _nothing),
    "surplus is kept": (plan, "_surplus", lambda _: []),
    "a template that does not answer is waited for": (living, "_kill_template", _nothing),
    "planned ends are faults": (apply, "FAULTS", frozenset(Cause)),
    "a lost database is a fault": (apply, "_deferred", lambda slot, fault: apply._faulted(slot, fault)),
    "reloads do not end": (plan, "reload_steps", _nothing),
    "nothing is stopped": (plan, "_stop", _nothing),
    "nobody is on probation": (plan, "is_on_probation", lambda *_: False),
    "probation is no condition of a commit": (reload, "_is_proven", lambda *_: True),
    "drains have no deadline": (living, "_watch_drain", _nothing),
    "templates may be silent": (living, "BEATING", BEATING | {"template": 1000}),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_supervisor_with_this_mistake_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, function, mistake = MUTATIONS[name]
    monkeypatch.setattr(module, function, mistake)
    with pytest.raises((AssertionError, KeyError, ExceptionGroup)):
        run_state_machine_as_test(Trouble, settings=settings(QUICK, max_examples=100))
