"""Judges the roster: which steps bring it closer to what is wanted. Pure; everything the supervisor decides is here."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .actions import (
    Action,
    AnnounceReady,
    Drain,
    Finish,
    Introduce,
    Park,
    Retire,
    Spawn,
    TellLost,
    Unpark,
)
from .budget import Budget, room_to_replace
from .clock import Clock
from .composition import Policy
from .fat import guard, has_room_for_successor, must_wait_for_memory, trim_is_due
from .health import all_workers_parked, boot_verdict, groups_up, may_spawn
from .living import watch_all
from .members import Member, Slot, Words
from .reload import admits, is_on_probation, is_proven
from .reload import steps as reload_steps
from .restart import must_park, next_try_at, probe_at, recycle_at
from .roster import Roster, Team
from .states import RECYCLED, Cause

FORKS_AT_ONCE = 16  # a template answers them one by one, and each holds descriptors
GOLDEN = 0.6180339887  # its multiples spread lifetimes evenly: workers that began together do not end together


class Judgement(msgspec.Struct, frozen=True):
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
    yield from watch_all(roster, policy, clock)
    yield from guard(roster, policy)
    if roster.stop_at is not None:
        yield from _stop(roster, policy, clock)
    elif roster.alone:
        yield from _tend(roster, policy, clock)
    yield from _talk_to_agent(roster, policy, clock)  # last: a successor is begun before its predecessor is told of


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
            yield TellLost(lost)


# Stopping: the reverse of the start order


def _stop(roster: Roster, policy: Policy, clock: Clock) -> Iterator[Action]:
    busy: set[str] = set()  # groups that still have members, or that somebody with members comes after
    for name, team in reversed(roster.teams.items()):
        if not team.is_empty:
            busy.add(name)
        if name in busy:
            busy.update(team.group.after)
    needed = {after for name in busy if name in roster.teams for after in roster.teams[name].group.after}
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
    if ended := tuple(reload_steps(roster, policy, clock)):
        yield from ended  # and nothing else: teams come and go with it
        return
    up = groups_up(roster)
    budget = Budget(room_to_replace(roster, policy))
    for team in sorted(roster.teams.values(), key=_can_wait):
        if surplus := _surplus(team):
            yield from (Retire(team.group.name, slot.number) for slot in surplus)
        else:
            yield from _tend_slots(roster, team, policy, clock, budget, may_spawn=may_spawn(roster, team, up))


def _can_wait(team: Team) -> bool:
    """All but a template at the start: what takes longest begins first."""
    return team.group.kind != "template" or team.opened_at is not None


def _surplus(team: Team) -> list[Slot]:
    """Seats without a serving process first, then the idlest, never a busy one before an idle one."""
    wanted = list(team.wanted)
    return sorted(wanted, key=_worth)[: len(wanted) - team.desired] if len(wanted) > team.desired else []


def _worth(slot: Slot) -> tuple[int, int, int]:
    jobs = sum(member.work.jobs_running for member in slot.members)
    serves = 2 if slot.is_ready else 1 if slot.members else 0
    return serves, jobs, -slot.number


def _tend_slots(
    roster: Roster, team: Team, policy: Policy, clock: Clock, budget: Budget, *, may_spawn: bool
) -> Iterator[Action]:
    one_may_leave = True  # of an app; whether the others serve is seen in the next round
    forks = FORKS_AT_ONCE - sum(member.pid is None for slot in team.slots for member in slot.members)
    for slot in team.slots:
        if slot.retired:
            yield from _drain_all(team, slot, Cause.RELOAD if team.retired or slot.canary else Cause.SCALED)
            continue
        yield from _yield_to_successor(roster, team, slot, policy, clock)
        if must_park(team, slot, policy):
            yield Park(team.group.name, slot.number)
        elif slot.parked_at is not None:
            if clock.reached(probe_at(slot, policy)):
                yield Unpark(team.group.name, slot.number)
        elif _has_room(roster, team, slot) and not slot.awaits_release:
            if (
                may_spawn
                and forks > 0
                and _is_spare_due(roster, team, slot)
                and clock.reached(next_try_at(slot, policy))
            ):
                forks -= 1
                yield Spawn(team.group.name, slot.number, release=team.release)
        elif (step := _replacement(roster, team, slot, policy, clock, may_spawn=may_spawn)) is None:
            continue
        elif isinstance(step, Drain) and team.group.kind == "pool":
            if budget.take():  # no successor has room beside it
                yield step
        elif isinstance(step, Drain):
            if team.group.kind != "command" or one_may_leave:
                yield step
            one_may_leave = False
        elif budget.slots > 0 and forks > 0 and clock.reached(next_try_at(slot, policy)):
            if step.release != team.release and not is_proven(roster, policy, clock, team.group.name):
                if not budget.canary:
                    continue
                budget.canary = False
            budget.slots, forks = budget.slots - 1, forks - 1
            yield step


def _yield_to_successor(roster: Roster, team: Team, slot: Slot, policy: Policy, clock: Clock) -> Iterator[Action]:
    """The predecessor leaves only when its successor serves; a successor whose release was given up leaves first."""
    newest = slot.newest
    if newest is None or newest.is_leaving or len(slot.members) < 2:
        return
    if newest.release not in (team.release, roster.target(team)) and slot.members[0].is_ready:
        if newest.pid is not None:
            yield Drain(team.group.name, slot.number, newest.serial, Cause.RELOAD)
        return
    if not newest.is_ready or is_on_probation(roster, team, newest, policy, clock):
        return
    for member in slot.members[:-1]:
        if not member.is_leaving and member.pid is not None:
            yield Drain(team.group.name, slot.number, member.serial, newest.replaces or Cause.ASKED)


def _is_spare_due(roster: Roster, team: Team, slot: Slot) -> bool:
    """A template's second process is a fork of the first, once nobody waits for it any more, and the other way."""
    if team.group.kind != "template" or slot is team.slots[0]:
        return True
    under_way = roster.reload is not None and team.group.name in roster.reload.templates
    return roster.booted_at is not None and not under_way and roster.ready_template(team.group.name) is not None


def _has_room(roster: Roster, team: Team, slot: Slot) -> bool:
    """Nobody sits here who stays. In a pool a drain need not be awaited, a kill is: it takes no time."""
    if slot.done:
        return False
    if team.group.kind != "pool":
        return not slot.members
    if must_wait_for_memory(roster, team, slot):
        return False
    return len(slot.members) < 2 and all(m.drain_at is not None and m.kill_at is None for m in slot.members)


def _replacement(
    roster: Roster, team: Team, slot: Slot, policy: Policy, clock: Clock, *, may_spawn: bool
) -> Spawn | Drain | None:
    """The step towards a fresh process where the one that sits here, or sat here, is not what is wanted."""
    name, target = team.group.name, roster.target(team)
    if slot.awaits_release and not slot.members:
        return Spawn(name, slot.number, release=target) if admits(roster, policy, clock, name) else None
    if len(slot.members) != 1 or not slot.members[0].is_ready:
        return None
    member = slot.members[0]
    possible = {target: admits(roster, policy, clock, name)} if target != team.release else {}
    possible[team.release] = may_spawn
    if team.group.kind == "pool" and member.release != target and possible[target]:
        return Spawn(name, slot.number, Cause.RELOAD, target)
    cause = _unwanted_because(team, member, policy, clock)
    if cause is None or (cause in RECYCLED and not clock.reached(recycle_at(slot, member, policy))):
        return None
    if team.group.kind != "pool":
        return Drain(name, slot.number, member.serial, cause) if _may_leave(team, slot) else None
    if cause is Cause.MEMORY_SOFT and not has_room_for_successor(roster, team):
        return Drain(name, slot.number, member.serial, cause)
    release = target if member.release == target else team.release
    return Spawn(name, slot.number, cause, release) if possible[release] else None


def _unwanted_because(team: Team, member: Member, policy: Policy, clock: Clock) -> Cause | None:
    """Why this ready process shall make way for a fresh one of the same kind."""
    if member.spawned_at < team.restart_at:
        return Cause.ASKED if member.release == team.release else Cause.RELOAD
    if member.over_limit_samples >= policy.memory_samples and not trim_is_due(team, member, policy, clock):
        return Cause.MEMORY_SOFT
    group = team.group
    lifetime = group.lifetime_seconds * (0.9 + member.serial * GOLDEN % 0.2)
    too_old = bool(group.lifetime_seconds) and clock.reached(member.spawned_at + lifetime)
    too_busy = bool(group.max_jobs) and member.work.jobs_done + member.work.jobs_failed >= group.max_jobs
    return Cause.LIFETIME if too_old or too_busy else None


def _may_leave(team: Team, slot: Slot) -> bool:
    """One instance of an app after the other, so that one that does not come back stops it. A template and its spare
    never leave together: each is forked from the other.
    """
    if team.group.kind != "template":
        return all(other is slot or other.is_ready for other in team.wanted)
    others = [other for other in team.slots if other is not slot]
    return all(
        other.is_ready and (other.number > slot.number or other.members[-1].spawned_at >= team.restart_at)
        for other in others
    )
