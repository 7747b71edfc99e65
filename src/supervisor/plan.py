"""Judges the roster: which steps bring it closer to what is wanted. Pure; everything the supervisor decides is here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .actions import (
    Action,
    AnnounceReady,
    Drain,
    Finish,
    Go,
    Hurry,
    Introduce,
    Kill,
    Park,
    Retire,
    Spawn,
    TellLost,
    Unpark,
)
from .clock import Clock
from .composition import Policy
from .health import all_workers_parked, boot_verdict, groups_up
from .restart import must_park, next_try_at, probe_at
from .roster import Cause, Member, Roster, Slot, Team, Words

FORKS_AT_ONCE = 16  # a template answers them one by one, and each holds descriptors
SIGNAL_GAP_SECONDS = 0.1  # two equal signals at once would arrive as one
HURRY_REPEAT_SECONDS = 0.5  # and a busy machine may take longer to deliver the first


@dataclass(frozen=True, slots=True)
class Judgement:
    """Steps to take now, and the instant at which time alone may call for more."""

    actions: tuple[Action, ...]
    next_at: float


def plan(roster: Roster, policy: Policy, now: float) -> tuple[Action, ...]:
    """The steps to take now."""
    return judge(roster, policy, now).actions


def judge(roster: Roster, policy: Policy, now: float) -> Judgement:
    clock = Clock(now)
    return Judgement(tuple(_steps(roster, policy, clock)), clock.next_at)


def _steps(roster: Roster, policy: Policy, clock: Clock) -> Iterator[Action]:
    yield from _watch(roster, policy, clock)
    yield from _talk_to_agent(roster, policy, clock)
    if roster.stop_at is not None:
        yield from _stop(roster, policy, clock)
    elif roster.alone:
        yield from _tend(roster, policy, clock)


# What is true of every living process, whatever else goes on


def _watch(roster: Roster, policy: Policy, clock: Clock) -> Iterator[Action]:
    for team in roster.teams.values():
        for slot in team.slots:
            for member in slot.members:
                if member.kill_at is None:
                    yield from _watch_member(roster, policy, clock, team, slot, member)


def _watch_member(
    roster: Roster, policy: Policy, clock: Clock, team: Team, slot: Slot, member: Member
) -> Iterator[Action]:
    name, number, serial = team.group.name, slot.number, member.serial
    if member.pid is None:
        patience = policy.hung_seconds if roster.hurried_at is None else policy.hurry_seconds
        if clock.reached(member.spawned_at + patience):
            yield from _kill_template(roster, team)
        return
    if team.group.kind == "pool" and member.went_at is None:
        yield Go(name, number, serial)
    if member.drain_at is not None:
        yield from _watch_drain(roster, policy, clock, team, slot, member)
    elif member.ready_at is None:
        if clock.reached(member.spawned_at + team.group.boot_timeout_seconds):
            yield Kill(name, number, serial, Cause.BOOT_TIMEOUT)
        return
    reports = team.group.kind == "pool" and member.heartbeat_at is not None
    if reports and clock.reached((member.heartbeat_at or 0.0) + policy.hung_seconds):
        yield Kill(name, number, serial, Cause.HUNG)


def _watch_drain(
    roster: Roster, policy: Policy, clock: Clock, team: Team, slot: Slot, member: Member
) -> Iterator[Action]:
    name, number, serial = team.group.name, slot.number, member.serial
    assert member.drain_at is not None
    deadline = member.drain_at + team.group.stop_timeout_seconds
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


def _kill_template(roster: Roster, team: Team) -> Iterator[Action]:
    """It does not answer: the forks that were asked of it are lost with it."""
    template = roster.teams[team.group.template or ""]
    for slot in template.slots:
        for member in slot.members:
            if member.kill_at is None and member.pid is not None:
                yield Kill(template.group.name, slot.number, member.serial, Cause.HUNG)


# The agent


def _talk_to_agent(roster: Roster, policy: Policy, clock: Clock) -> Iterator[Action]:
    for team in roster.teams.values():
        for slot in team.slots if team.group.kind == "agent" else ():
            for member in slot.members:
                if member.is_ready and roster.introduced != member.serial:
                    yield Introduce(team.group.name, slot.number, member.serial)
    if roster.introduced is None:
        return
    for lost in roster.lost:
        if lost.told_at is None or clock.reached(lost.told_at + policy.lost_repeat_seconds):
            yield TellLost(lost.incarnation, lost.cause, lost.jobs_in_hand)


# Stopping: the reverse of the start order


def _stop(roster: Roster, policy: Policy, clock: Clock) -> Iterator[Action]:
    busy: set[str] = set()  # groups that still have members, or that somebody with members comes after
    for name, team in reversed(roster.teams.items()):
        if not team.is_empty:
            busy.add(name)
        if name in busy:
            busy.update(team.group.after)
    needed = {after for name in busy for after in roster.teams[name].group.after}
    for name, team in roster.teams.items():
        if name in needed or (team.group.kind == "agent" and _agent_is_needed(roster, policy, clock)):
            continue
        for slot in team.slots:
            yield from _drain_all(team, slot, Cause.ASKED)


def _agent_is_needed(roster: Roster, policy: Policy, clock: Clock) -> bool:
    """The last workers' jobs are being given back; not for ever, for the database may be away."""
    if roster.introduced is None or roster.hurried_at is not None or not roster.lost:
        return False
    return not clock.reached(max(lost.at for lost in roster.lost) + policy.release_wait_seconds)


def _drain_all(team: Team, slot: Slot, cause: Cause) -> Iterator[Action]:
    for member in slot.members:
        if not member.is_leaving and member.pid is not None:
            yield Drain(team.group.name, slot.number, member.serial, cause)


# Serving


def _tend(roster: Roster, policy: Policy, clock: Clock) -> Iterator[Action]:
    if roster.booted_at is None:
        verdict = boot_verdict(roster, policy, clock)
        if verdict is not None:
            yield AnnounceReady() if verdict.exit_code == 0 else Finish(verdict)
            if verdict.exit_code != 0:
                return
    elif roster.exit_when_all_parked and all_workers_parked(roster):
        yield Finish(Words(1, "every worker crashed again and again and was parked; see `workerctl why`"))
        return
    up = groups_up(roster)
    for team in roster.teams.values():
        if surplus := _surplus(team):
            yield from (Retire(team.group.name, slot.number) for slot in surplus)
        else:
            yield from _tend_slots(team, policy, clock, may_spawn=_may_spawn(team, up))


def _may_spawn(team: Team, up: frozenset[str]) -> bool:
    """A group starts after the others; later replacements need only their template."""
    if team.group.template is not None and team.group.template not in up:
        return False
    return team.opened_at is not None or all(name in up for name in team.group.after)


def _surplus(team: Team) -> list[Slot]:
    """Seats without a serving process first, then the idlest, never a busy one before an idle one."""
    wanted = list(team.wanted)
    return sorted(wanted, key=_worth)[: len(wanted) - team.desired] if len(wanted) > team.desired else []


def _worth(slot: Slot) -> tuple[int, int, int]:
    jobs = sum(member.work.jobs_running for member in slot.members)
    serves = 2 if slot.is_ready else 1 if slot.members else 0
    return serves, jobs, -slot.number


def _tend_slots(team: Team, policy: Policy, clock: Clock, *, may_spawn: bool) -> Iterator[Action]:
    forks = FORKS_AT_ONCE - sum(member.pid is None for slot in team.slots for member in slot.members)
    surge = max(1, int(team.desired * policy.surge_fraction)) - _away(team)
    for slot in team.slots:
        if slot.retired:
            yield from _drain_all(team, slot, Cause.SCALED)
            continue
        yield from _yield_to_successor(team, slot)
        if must_park(team, slot, policy):
            yield Park(team.group.name, slot.number)
        elif slot.parked_at is not None:
            if clock.reached(probe_at(slot, policy)):
                yield Unpark(team.group.name, slot.number)
        elif may_spawn and forks > 0 and _has_room(team, slot):
            if clock.reached(next_try_at(slot, policy)):
                forks -= 1
                yield Spawn(team.group.name, slot.number)
        elif (cause := _unwanted_because(team, slot, policy)) is not None:
            if team.group.kind != "pool":
                yield from _drain_all(team, slot, cause)
            elif may_spawn and surge > 0 and forks > 0 and clock.reached(next_try_at(slot, policy)):
                surge, forks = surge - 1, forks - 1
                yield Spawn(team.group.name, slot.number, replaces=cause)


def _yield_to_successor(team: Team, slot: Slot) -> Iterator[Action]:
    """The predecessor leaves only when its successor serves."""
    newest = slot.newest
    if newest is None or not newest.is_ready:
        return
    for member in slot.members[:-1]:
        if not member.is_leaving and member.pid is not None:
            yield Drain(team.group.name, slot.number, member.serial, newest.replaces or Cause.ASKED)


def _has_room(team: Team, slot: Slot) -> bool:
    """Nobody sits here who stays. In a pool a drain need not be awaited, a kill is: it takes no time."""
    if slot.done:
        return False
    if team.group.kind != "pool":
        return not slot.members
    return len(slot.members) < 2 and all(m.drain_at is not None and m.kill_at is None for m in slot.members)


def _unwanted_because(team: Team, slot: Slot, policy: Policy) -> Cause | None:
    """Why the only, ready process of this slot shall make way for a fresh one."""
    if len(slot.members) != 1 or not slot.members[0].is_ready:
        return None
    member = slot.members[0]
    if member.spawned_at < team.restart_at:
        return Cause.ASKED
    return Cause.MEMORY_SOFT if member.over_limit_samples >= policy.memory_samples else None


def _away(team: Team) -> int:
    """Slots without a serving process, or with two: both are paid from one budget. Parked ones are not under way."""
    return sum(
        len(slot.members) > 1 or (not slot.is_ready and slot.parked_at is None)
        for slot in team.slots
        if not slot.retired
    )
