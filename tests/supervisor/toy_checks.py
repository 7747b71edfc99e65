"""What must hold of a simulated machine at every instant.

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

from toy_world import POLICY, World

from workerctl.supervisor import actions as act
from workerctl.supervisor import fat, restart
from workerctl.supervisor.composition import Group
from workerctl.supervisor.living import BEATING
from workerctl.supervisor.members import Member, Slot
from workerctl.supervisor.roster import Roster, Team
from workerctl.supervisor.states import Cause, Phase

PLANNED = frozenset({Cause.RELOAD, Cause.LIFETIME, Cause.MEMORY_SOFT, Cause.ASKED})
EPSILON_SECONDS = 0.001


class Checks:
    """Asserts it all; whoever simulates has the world."""

    world: World

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
