"""Changes of a team's slots that several facts share. Pure."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from .members import Slot
from .roster import Team


def every_slot(team: Team, change: Callable[[Slot], Slot]) -> Team:
    return replace(team, slots=tuple(change(slot) for slot in team.slots))


def in_slot(team: Team, number: int, change: Callable[[Slot], Slot]) -> Team:
    return replace(team, slots=tuple(change(slot) if slot.number == number else slot for slot in team.slots))


def forgiven(slot: Slot) -> Slot:
    """It may try again at once, whatever happened in it."""
    return replace(slot, faults=(), absences=(), recycles=(), parked_at=None, probing=False, awaits_release=False)


def scaled(team: Team, desired: int) -> Team:
    """Slots that are retired come back first, then the lowest free numbers; `plan` retires what is too much."""
    tried = every_slot(team, lambda slot: slot if slot.parked_at is None else forgiven(slot))
    slots = {slot.number: slot for slot in tried.slots}
    missing = desired - sum(1 for _ in team.wanted)
    for number in range(1, len(slots) + max(missing, 0) + 1):
        if missing <= 0:
            break
        slot = slots.get(number)
        if slot is None or slot.retired:
            slots[number] = Slot(number) if slot is None else replace(slot, retired=False, canary=False)
            missing -= 1
    ordered = tuple(slots[number] for number in sorted(slots))
    return replace(tried, desired=desired, slots=ordered)


def without_empty_retired(team: Team) -> Team:
    if not any(slot.retired and not slot.members for slot in team.slots):
        return team
    return replace(team, slots=tuple(slot for slot in team.slots if slot.members or not slot.retired))
