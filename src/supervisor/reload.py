"""Judges a reload: whether the new release may take another worker, and whether it has failed or won. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .actions import Action, Commit, FailReload
from .clock import Clock
from .composition import Policy
from .members import Member, Slot, Words, describe
from .roster import End, Reload, Roster, Team, shown_name
from .states import FAULTS


def steps(roster: Roster, policy: Policy, clock: Clock) -> Iterator[Action]:
    """The end of the reload, once there is one."""
    reload = roster.reload
    if reload is None:
        return
    failure = _failure(roster, reload, policy)
    if failure is not None:
        yield failure
    elif _is_complete(roster, reload, policy, clock):
        yield Commit(reload.number)


def admits(roster: Roster, policy: Policy, clock: Clock, pool: str) -> bool:
    """Whether the new release may start another worker in this pool: one canary per template, one after the other."""
    reload = roster.reload
    if reload is None or pool not in reload.pools:
        return False
    own = reload.pools[pool].template or ""
    if roster.ready_template(own) is None:
        return False
    for template in reload.templates:
        if template == own:
            return _is_proven(roster, reload, template, policy, clock) or not _begun(roster, reload, template)
        if not _is_proven(roster, reload, template, policy, clock):
            return False
    return False


def is_proven(roster: Roster, policy: Policy, clock: Clock, pool: str) -> bool:
    """Whether the new release of this pool has passed its probation."""
    reload = roster.reload
    if reload is None or pool not in reload.pools:
        return True
    return _is_proven(roster, reload, reload.pools[pool].template or "", policy, clock)


def is_on_probation(roster: Roster, team: Team, member: Member, policy: Policy, clock: Clock) -> bool:
    """Whether its predecessor shall stay, in case the new code does not live."""
    reload = roster.reload
    if reload is None or member.release != reload.number or member.ready_at is None:
        return False
    template = reload.pools[team.group.name].template or "" if team.group.name in reload.pools else ""
    return bool(template) and not _is_proven(roster, reload, template, policy, clock)


def _failure(roster: Roster, reload: Reload, policy: Policy) -> FailReload | None:
    for end in reload.ends:
        if end.group in reload.templates:
            return _failed(reload, end, "the new template")
        died_young = end.exit.served_seconds is None or end.exit.served_seconds < policy.probation_seconds
        if end.exit.cause in FAULTS and died_young:
            return _failed(reload, end, f"{end.group}/{end.slot} of the new release")
    for name in reload.templates:
        for slot in roster.teams[name].slots:
            if slot.faults and roster.teams[name].release == reload.number:
                words = Words(1, "the new template could not be started; see `workerctl logs supervisor`")
                return FailReload(reload.number, words)
    return None


def _failed(reload: Reload, end: End, who: str) -> FailReload:
    said = end.exit.message or describe(end.exit)
    where = (shown_name(end.group), end.slot, end.exit.serial)
    return FailReload(reload.number, Words(end.exit.code or 1, f"{who}: {said}"), where)


def _is_complete(roster: Roster, reload: Reload, policy: Policy, clock: Clock) -> bool:
    if any(roster.ready_template(name) is None for name in reload.templates):
        return False
    slots = [slot for name in reload.pools for slot in roster.teams[name].wanted]
    return all(_has_moved(slot, reload.number) for slot in slots) and all(
        _is_proven(roster, reload, template, policy, clock) for template in reload.templates
    )


def _has_moved(slot: Slot, number: int) -> bool:
    if not slot.members:
        return slot.parked_at is not None
    member = slot.stays
    return member is not None and member.is_ready and member.release == number


def _is_proven(roster: Roster, reload: Reload, template: str, policy: Policy, clock: Clock) -> bool:
    """One worker has served through the probation, or there is none that could."""
    members = [
        member
        for slot in _slots(roster, reload, template)
        for member in slot.members
        if member.release == reload.number
    ]
    if any(
        member.ready_at is not None and clock.reached(member.ready_at + policy.probation_seconds) for member in members
    ):
        return True
    return all(not slot.members and slot.parked_at is not None for slot in _slots(roster, reload, template))


def _begun(roster: Roster, reload: Reload, template: str) -> bool:
    return any(
        member.release == reload.number and not member.is_leaving
        for slot in _slots(roster, reload, template)
        for member in slot.members
    )


def _slots(roster: Roster, reload: Reload, template: str) -> list[Slot]:
    names = [name for name, group in reload.pools.items() if group.template == template]
    return [slot for name in names for slot in roster.teams[name].slots if not slot.retired]
