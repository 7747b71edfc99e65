"""An ordinary bad week of a machine, by chance and from a seed."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from toy_checks import Checks
from toy_world import HOUSE, POLICY, World, busy

from workerctl.supervisor import events as ev
from workerctl.supervisor.composition import Group
from workerctl.supervisor.living import BEATING
from workerctl.supervisor.members import Memory

WITH_SPARE = tuple(
    msgspec.structs.replace(group, instances=2) if group.kind == "template" else group for group in HOUSE
)
LOGS = Group("logs", "pool", template="template", after=("template", "agent"), instances=2)
SIDE = Group("side", "command", command=("side",), after=("default",), instances=2)
SHARE = st.floats(0, 0.999)


class Trouble(RuleBasedStateMachine, Checks):
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
