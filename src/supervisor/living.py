"""Judges every living process, whatever else goes on: boots, drains and hangs have deadlines. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .actions import Action, Dump, Go, Hurry, Kill
from .clock import Clock
from .composition import Policy
from .fat import watch
from .health import may_go
from .members import Member, Slot
from .roster import Roster, Team
from .states import Cause

SIGNAL_GAP_SECONDS = 0.1  # two equal signals at once would arrive as one
HURRY_REPEAT_SECONDS = 0.5  # and a busy machine may take longer to deliver the first
# Kinds whose silence means that they hang, and after how many times a worker's patience: one turn of the agent may wait
# for several statements, and the collector for a disk.
BEATING = {"pool": 1, "template": 1, "agent": 2, "collector": 2}


def watch_all(roster: Roster, policy: Policy, clock: Clock) -> Iterator[Action]:
    """What is due of them all."""
    for team in roster.teams.values():
        for slot in team.slots:
            for member in slot.members:
                if member.kill_at is None:
                    yield from _watch_member(roster, policy, clock, team, slot, member)


def _watch_member(
    roster: Roster, policy: Policy, clock: Clock, team: Team, slot: Slot, member: Member
) -> Iterator[Action]:
    name, number, serial = team.group.name, slot.number, member.serial
    group = member.group or team.group
    if member.pid is None:
        patience = policy.hung_seconds if roster.hurried_at is None else policy.hurry_seconds
        if clock.reached(member.spawned_at + patience):
            yield from _kill_template(roster, member)
        return
    if team.group.kind == "pool" and member.went_at is None and may_go(roster, team):
        yield Go(name, number, serial, claims=not slot.canary)
    if member.drain_at is not None:
        yield from _watch_drain(roster, policy, clock, team, slot, member)
    elif member.ready_at is None:
        if clock.reached(member.spawned_at + group.boot_timeout_seconds):
            yield Kill(name, number, serial, Cause.BOOT_TIMEOUT)
        return
    yield from watch(team, slot, member, policy, clock)
    kind, beat_at = team.group.kind, member.heartbeat_at
    if kind not in BEATING or beat_at is None or not clock.reached(beat_at + policy.hung_seconds * BEATING[kind]):
        return
    if kind != "pool":
        yield Kill(name, number, serial, Cause.HUNG)
    elif member.dump_at is None or member.dump_at < beat_at:
        yield Dump(name, number, serial)
    elif clock.reached(member.dump_at + policy.dump_seconds):
        yield Kill(name, number, serial, Cause.HUNG)


def _watch_drain(
    roster: Roster, policy: Policy, clock: Clock, team: Team, slot: Slot, member: Member
) -> Iterator[Action]:
    name, number, serial = team.group.name, slot.number, member.serial
    assert member.drain_at is not None
    deadline = member.drain_at + (member.group or team.group).stop_timeout_seconds
    if roster.hurried_at is not None:
        deadline = min(deadline, max(member.drain_at, roster.hurried_at) + policy.hurry_seconds)
    if clock.reached(deadline):
        yield Kill(name, number, serial, member.drain_cause or Cause.ASKED)
    elif roster.hurried_at is not None or _must_not_wait(roster, team):
        sent_at = member.hurry_sent_at
        due_at = member.drain_at + SIGNAL_GAP_SECONDS if sent_at is None else sent_at + HURRY_REPEAT_SECONDS
        if clock.reached(due_at):
            yield Hurry(name, number, serial)


def _must_not_wait(roster: Roster, team: Team) -> bool:
    """A collector that is to be replaced would read until the last stream ends; the next one goes on reading."""
    return team.group.kind == "collector" and roster.stop_at is None


def _kill_template(roster: Roster, waiting: Member) -> Iterator[Action]:
    """It does not answer: the forks that were asked of it are lost with it."""
    for team in roster.teams.values():
        for slot in team.slots if team.group.kind == "template" else ():
            for member in slot.members:
                if member.serial == waiting.template and member.kill_at is None and member.pid is not None:
                    yield Kill(team.group.name, slot.number, member.serial, Cause.HUNG)
