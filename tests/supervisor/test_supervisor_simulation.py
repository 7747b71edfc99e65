"""Simulated hours of random trouble: what must hold always, and that everything comes back once trouble ends.

The invariants are listed in toy_checks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from toy_trouble import Trouble

from workerctl.supervisor import actions as act
from workerctl.supervisor import apply, budget, living, plan, reload
from workerctl.supervisor.composition import Policy
from workerctl.supervisor.living import BEATING
from workerctl.supervisor.states import Cause

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
    "there is no budget": (plan, "room_to_replace", lambda *_: 99),
    "nobody counts as away": (budget, "_away", lambda _: 0),
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
