"""Folds a fact into the roster. Records, never judges; accepts facts about processes long gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from . import events as ev
from . import releases
from .members import Exit, Fault, Member, Slot, Words, describe
from .roster import Lost, Primary, Roster, Team
from .states import FAULTS, RECYCLED, Cause
from .teams import every_slot, forgiven, in_slot, scaled, without_empty_retired

FAULTS_KEPT = 16  # beyond, more would change no delay and no judgement
LOST_KEPT = 1024  # a fresh agent releases every worker that it is not told alive, those forgotten here too


def apply(roster: Roster, event: ev.Event) -> Roster:
    """The roster after this fact."""
    match event:
        case ev.MemberEvent():
            return _to_member(roster, event)
        case ev.Parked(at=at):
            return _slot(roster, event.group, event.slot, lambda slot: replace(slot, parked_at=at, probing=False))
        case ev.Unparked():
            return _slot(roster, event.group, event.slot, _unparked)
        case ev.Retired():
            retired = _slot(roster, event.group, event.slot, lambda slot: replace(slot, retired=True))
            return _team(retired, event.group, without_empty_retired)
        case ev.Scaled():
            return _team(roster, event.group, lambda team: scaled(team, event.desired))
        case ev.RestartAsked():
            return _team(roster, event.group, lambda team: _restarted(team, event.at))
        case ev.ResetAsked():
            return _team(roster, event.group, lambda team: every_slot(team, _reset))
        case ev.GotAlone():
            return replace(roster, alone=True)
        case ev.StopAsked():
            return roster if roster.stop_at is not None else replace(roster, stop_at=event.at, outcome=event.outcome)
        case ev.Hurried():
            return replace(roster, hurried_at=event.at)
        case ev.Booted():
            return replace(roster, booted_at=event.at)
        case ev.LostTold() | ev.Released():
            return _lost(roster, event)
        case ev.ReloadBegan():
            return releases.began(roster, event)
        case ev.ReloadFailed():
            return releases.failed(roster, event)
        case ev.Committed():
            return releases.committed(roster, event)
        case ev.PrimaryChanged():
            return replace(roster, primary=Primary(event.holds_lease, event.holder))
        case ev.MachineSampled():
            return replace(roster, memory=event.memory)
        case ev.Slept():
            return _slept(roster, event.at, event.seconds)
    raise TypeError(f"unknown event {event!r}")


def _to_member(roster: Roster, event: ev.MemberEvent) -> Roster:
    match event:
        case ev.Spawned():
            return _team(roster, event.group, lambda team: _spawned(roster, team, event))
        case ev.SpawnFailed() | ev.ForkLost():
            rest = _slot(roster, event.group, event.slot, lambda slot: _not_spawned(slot, event))
            return releases.without_empty_teams(_team(rest, event.group, without_empty_retired))
        case ev.Exited():
            return _exited(roster, event)
        case ev.BecameReady():
            told = releases.told(roster, event) if event.fingerprint else roster
            return _slot(told, event.group, event.slot, lambda slot: _ready(slot, event))
        case ev.Introduced():
            untold = tuple(replace(lost, told_at=None) for lost in roster.lost)
            return replace(roster, introduced=event.serial, lost=untold)
        case ev.MemorySampled():
            return _team(roster, event.group, lambda team: _sampled(team, event))
    return _slot(roster, event.group, event.slot, lambda slot: _member(slot, event.serial, _changes(event)))


def _changes(event: ev.MemberEvent) -> dict[str, Any]:
    """What a fact about a living process changes in its member."""
    at = event.at
    match event:
        case ev.Forked():
            return {"pid": event.pid}
        case ev.Went():
            return {"went_at": at}
        case ev.Rehearsed():
            return {"rehearsed": True}
        case ev.Heartbeat():
            return {"heartbeat_at": at, "work": event.work}
        case ev.SaidDraining():
            words = {} if event.reason is None else {"words": Words(0, event.reason)}
            return {"said_draining": True, "heartbeat_at": at, **words}
        case ev.TrimSent():
            return {"trimmed_at": at}
        case ev.RestSent():
            return {"rests": event.rests}
        case ev.SaidFailed():
            return {"words": event.words}
        case ev.DrainSent():
            return {"drain_cause": event.cause, "drain_at": at}
        case ev.HurrySent():
            return {"hurry_sent_at": at}
        case ev.DumpSent():
            return {"dump_at": at}
        case ev.KillSent():
            return {"kill_cause": event.cause, "kill_at": at}
    raise TypeError(f"unknown event {event!r}")


def _sampled(team: Team, event: ev.MemorySampled) -> Team:
    size = event.usage.size_bytes
    over = size > (team.group.max_memory_bytes or size)
    over_hard = size > (team.group.max_memory_hard_bytes or size)

    def measured(member: Member) -> Member:
        if member.serial != event.serial:
            return member
        return replace(
            member,
            usage=event.usage,
            over_limit_samples=member.over_limit_samples + 1 if over else 0,
            over_hard_samples=member.over_hard_samples + 1 if over_hard else 0,
        )

    def changed(slot: Slot) -> Slot:
        return replace(slot, members=tuple(measured(member) for member in slot.members))

    return in_slot(team, event.slot, changed)


def _spawned(roster: Roster, team: Team, event: ev.Spawned) -> Team:
    group = roster.group(event.group, event.release)
    template = roster.teams.get(group.template or "")
    member = Member(
        event.serial,
        event.at,
        event.pid,
        event.incarnation,
        event.replaces,
        group=group,
        release=event.release,
        fingerprint=template.fingerprint if template is not None else team.fingerprint,
        template=event.template,
    )
    opened = team if team.opened_at is not None else replace(team, opened_at=event.at)
    return in_slot(opened, event.slot, lambda slot: replace(slot, members=(*slot.members, member)))


def _not_spawned(slot: Slot, event: ev.SpawnFailed | ev.ForkLost) -> Slot:
    rest = replace(slot, members=tuple(member for member in slot.members if member.serial != event.serial))
    if isinstance(event, ev.ForkLost):
        return rest
    fault = Fault(event.at, event.jitter, message=event.message)
    return _faulted(rest, fault) if event.fault else _deferred(rest, fault)


def _ready(slot: Slot, event: ev.BecameReady) -> Slot:
    if any(member.serial == event.serial and member.ready_at is not None for member in slot.members):
        return slot
    changed = _member(slot, event.serial, {"ready_at": event.at, "heartbeat_at": event.at})
    return replace(changed, was_ready=True, absences=(), awaits_release=False)


def _exited(roster: Roster, event: ev.Exited) -> Roster:
    team = roster.teams.get(event.group)
    slot = roster.slot(event.group, event.slot)
    member = roster.member(event.group, event.slot, event.serial)
    if team is None or slot is None or member is None:
        return roster
    end = _end(event, member)
    rest = replace(slot, members=tuple(m for m in slot.members if m is not member), last_exit=end)
    lived = (event.at if member.drain_at is None else member.drain_at) - member.spawned_at
    changed = _judged(team, rest, event, Fault(event.at, event.jitter, lived))
    if roster.stop_at is None and not changed.done and not slot.retired:
        changed = replace(changed, restarts=slot.restarts + 1)
    after = _team(
        roster, event.group, lambda team: without_empty_retired(in_slot(team, slot.number, lambda _: changed))
    )
    after = releases.noted(releases.without_empty_teams(after), team, slot, end)
    if roster.introduced == event.serial:
        after = replace(after, introduced=None, primary=Primary())
    if team.group.kind == "pool" and member.incarnation is not None and member.went_at is not None:
        seat, how = (event.group, event.slot, event.serial), describe(end)
        lost = Lost(member.incarnation, event.cause, end.jobs_in_hand, event.at, seat, how)
        after = replace(after, lost=(*after.lost, lost)[-LOST_KEPT:])
    return after


def _judged(team: Team, slot: Slot, event: ev.Exited, fault: Fault) -> Slot:
    """The budget this end is booked on: planned ends are free."""
    if team.group.kind == "once" and event.code == 0:
        return replace(slot, done=True, was_ready=True)
    if event.cause in FAULTS:
        return _faulted(slot, fault)
    if event.cause in RECYCLED:
        return replace(slot, recycles=(*slot.recycles, fault)[-FAULTS_KEPT:])
    return _deferred(slot, fault) if event.cause is Cause.DATABASE_AWAY else slot


def _end(event: ev.Exited, member: Member) -> Exit:
    return Exit(
        serial=member.serial,
        pid=member.pid,
        cause=event.cause,
        code=event.code,
        signal=event.signal,
        at=event.at,
        uptime_seconds=event.at - member.spawned_at,
        rss_bytes=member.usage.rss_bytes,
        jobs_in_hand=member.work.jobs_running,
        message=member.words.message if member.words else "",
        incarnation=member.incarnation,
        release=member.release,
        served_seconds=None if member.ready_at is None else event.at - member.ready_at,
    )


def _faulted(slot: Slot, fault: Fault) -> Slot:
    return replace(slot, faults=(*slot.faults, fault)[-FAULTS_KEPT:], absences=())


def _deferred(slot: Slot, fault: Fault) -> Slot:
    return replace(slot, absences=(*slot.absences, fault)[-FAULTS_KEPT:])


def _unparked(slot: Slot) -> Slot:
    return replace(slot, parked_at=None, probing=True, faults=(), absences=())


def _reset(slot: Slot) -> Slot:
    return replace(forgiven(slot), restarts=0)


def _restarted(team: Team, at: float) -> Team:
    """Whoever runs now shall be replaced; a slot that was given up may try again."""
    return replace(every_slot(team, forgiven), restart_at=at)


def _lost(roster: Roster, event: ev.LostTold | ev.Released) -> Roster:
    kept = (lost for lost in roster.lost if lost.incarnation != event.incarnation)
    if isinstance(event, ev.Released):
        return replace(roster, lost=tuple(kept))
    told = tuple(
        replace(lost, told_at=event.at) if lost.incarnation == event.incarnation else lost for lost in roster.lost
    )
    return replace(roster, lost=told)


def _slept(roster: Roster, at: float, seconds: float) -> Roster:
    """Everybody's heartbeat is taken as just heard; boots and drains get the lost time back."""

    def awake(member: Member) -> Member:
        return replace(
            member,
            spawned_at=member.spawned_at + (seconds if member.ready_at is None else 0.0),
            heartbeat_at=None if member.heartbeat_at is None else at,
            drain_at=None if member.drain_at is None else member.drain_at + seconds,
        )

    def slot_awake(slot: Slot) -> Slot:
        return replace(slot, members=tuple(awake(member) for member in slot.members))

    teams = {name: every_slot(team, slot_awake) for name, team in roster.teams.items()}
    return replace(roster, teams=teams)


def _member(slot: Slot, serial: int, changes: dict[str, Any]) -> Slot:
    members = tuple(replace(member, **changes) if member.serial == serial else member for member in slot.members)
    return replace(slot, members=members)


def _slot(roster: Roster, group: str, number: int, change: Callable[[Slot], Slot]) -> Roster:
    return _team(roster, group, lambda team: in_slot(team, number, change))


def _team(roster: Roster, group: str, change: Callable[[Team], Team]) -> Roster:
    team = roster.teams.get(group)
    if team is None:
        return roster
    return replace(roster, teams={**roster.teams, group: change(team)})
