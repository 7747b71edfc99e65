"""Judges memory: who is asked to give back, who is killed, who rests while the machine is short. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .actions import Action, Kill, Rest, Trim
from .clock import Clock
from .composition import Policy
from .members import Member, Memory, Slot
from .roster import Roster, Team
from .states import Cause


def watch(team: Team, slot: Slot, member: Member, policy: Policy, clock: Clock) -> Iterator[Action]:
    """Over the hard limit: killed. Over the soft one for the first time in a while: asked to give back at once, so that
    the next sample tells whether it could.
    """
    name, number, serial = team.group.name, slot.number, member.serial
    if member.over_hard_samples >= policy.memory_samples:
        yield Kill(name, number, serial, Cause.MEMORY_HARD)
    elif member.is_ready and trim_is_due(team, member, policy, clock):
        yield Trim(name, number, serial)


def trim_is_due(team: Team, member: Member, policy: Policy, clock: Clock) -> bool:
    """Only our own workers know how to."""
    if team.group.kind != "pool" or member.over_limit_samples == 0:
        return False
    return member.trimmed_at is None or clock.reached(member.trimmed_at + policy.trim_again_seconds)


def has_room_for_successor(roster: Roster, team: Team) -> bool:
    """Whether a second worker fits beside the fat one; unknown is yes."""
    if roster.memory is None or team.group.max_memory_bytes is None:
        return True
    return roster.memory.available_bytes > team.group.max_memory_bytes


def must_wait_for_memory(roster: Roster, team: Team, slot: Slot) -> bool:
    """The fat one drains first, and nothing fits beside it."""
    leaving = any(member.drain_cause is Cause.MEMORY_SOFT for member in slot.members)
    return leaving and not has_room_for_successor(roster, team)


def guard(roster: Roster, policy: Policy) -> Iterator[Action]:
    """The machine is short of memory: the heaviest worker claims no more. It has enough again: one more claims."""
    if roster.memory is None or roster.stop_at is not None:
        return
    workers = [
        (member.usage.size_bytes, team.group.name, slot.number, member)
        for team in roster.teams.values()
        for slot in (team.slots if team.group.kind == "pool" else ())
        for member in slot.members
        if member.is_ready
    ]
    workers.sort(key=lambda worker: (worker[0], worker[3].serial))
    resting = [worker for worker in workers if worker[3].rests]
    memory = roster.memory
    if memory.free_fraction > policy.memory_back_fraction and memory.stalled_percent < policy.memory_moves_percent:
        for _, name, number, member in resting[:1]:
            yield Rest(name, number, member.serial, rests=False)
    elif _is_short(memory, policy) and not resting and len(workers) > 1:
        _, name, number, member = workers[-1]
        yield Rest(name, number, member.serial, rests=True)


def _is_short(memory: Memory, policy: Policy) -> bool:
    return memory.free_fraction < policy.memory_low_fraction or memory.stalled_percent > policy.memory_stalled_percent
