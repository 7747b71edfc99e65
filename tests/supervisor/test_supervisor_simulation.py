"""Simulated hours of random trouble: what must hold always, and that everything comes back once trouble ends."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from toy_world import HOUSE, POLICY, World, busy

from workerctl.supervisor import actions as act
from workerctl.supervisor import events as ev
from workerctl.supervisor.composition import Group
from workerctl.supervisor.members import Memory
from workerctl.supervisor.roster import Roster, Team
from workerctl.supervisor.states import Phase

WITH_SPARE = tuple(
    msgspec.structs.replace(group, instances=2) if group.kind == "template" else group for group in HOUSE
)
LOGS = Group("logs", "pool", template="template", after=("template", "agent"), instances=2)
SIDE = Group("side", "command", command=("side",), after=("default",), instances=2)
SHARE = st.floats(0, 0.999)


class Trouble(RuleBasedStateMachine):
    """Every rule is something that happens to a machine in an ordinary bad week."""

    @initialize(seed=st.integers(0, 2**16), instances=st.integers(0, 12))
    def begin(self, seed: int, instances: int) -> None:
        self.bad: set[tuple[str, int]] = set()  # releases whose template or workers end with 1
        self.world = World(WITH_SPARE, seed=seed)
        self.world.release_fails = lambda kind, number: 1 if (kind, number) in self.bad else None
        self.world.on_settled = self.check
        self.world.happen(ev.Scaled(0.0, "default", instances))
        self.world.run(5)

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.0, 20.0, 90.0, 900.0, 3600.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(share=SHARE, code=st.sampled_from([None, 0, 1, 69, 78]))
    def a_process_ends(self, share: float, code: int | None) -> None:
        found = self.world.members()
        if found:
            self.world.end(*found[int(share * len(found))], code, None if code is not None else 9)
        self.world.run(0.02)

    @rule(code=st.sampled_from([None, 1, 69]))
    def every_worker_ends(self, code: int | None) -> None:
        for found in self.world.members("default"):
            self.world.end(*found, code, None if code is not None else 11)
        self.world.run(0.02)

    @rule(share=SHARE)
    def a_worker_grows_too_fat(self, share: float) -> None:
        found = self.world.members("default")
        for _ in range(4 if found else 0):  # two until it is asked to give back, two until it is replaced
            self.world.fatten(*found[int(share * len(found))], 101)
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

    def check_actions(self) -> None:
        for _, action, before in self.world.performed:
            if not isinstance(action, act.Spawn):
                continue
            if action.group not in before.teams:
                continue  # its release was given up in the same round
            team, slot = before.teams[action.group], before.slot(action.group, action.slot)
            assert slot is not None and not slot.retired and not slot.done
            assert slot.parked_at is None, "a process was started in a parked slot"
            if action.release != team.release:
                self.check_canary(before, action)
            staying = sum(not member.is_leaving for seat in team.wanted for member in seat.members)
            assert staying < team.desired + max(1, int(team.desired * 0.2)), "more than desired plus the budget"
        self.world.performed.clear()

    def check_canary(self, before: Roster, action: act.Spawn) -> None:
        reload = before.reload
        assert reload is not None and action.release == reload.number, "a worker of a release that was given up"
        siblings = [m for name in reload.pools for slot in before.teams[name].slots for m in slot.members
                    if m.release == reload.number]  # fmt: skip
        served = [self.world.now - member.ready_at for member in siblings if member.ready_at is not None]
        staying = [member for member in siblings if not member.is_leaving]
        assert not staying or max(served, default=0) >= POLICY.probation_seconds, "a second one before the canary"

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
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


TestTrouble = Trouble.TestCase
TestTrouble.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phases.explicit, Phases.reuse, Phases.generate),  # shrinking hours of simulation takes minutes
)
