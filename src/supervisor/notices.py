"""What somebody should look at though everything goes on: one sentence each, with what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .composition import Policy
from .members import Slot
from .restart import is_unusable, recycle_streak
from .roster import Roster, Team, shown_name
from .states import Cause


class Notice(NamedTuple):
    """One of them. Equal ones are the same one."""

    name: str
    slot: int
    text: str


def notices(roster: Roster, policy: Policy) -> list[Notice]:
    """All of the moment, in the order of the start."""
    return [
        Notice(shown_name(name), slot.number, text)
        for name, team in roster.teams.items()
        for slot in team.wanted
        for text in _about(team, slot, policy)
    ]


def _about(team: Team, slot: Slot, policy: Policy) -> Iterator[str]:
    seat = f"{shown_name(team.group.name)}/{slot.number}"
    if slot.parked_at is not None:
        again = "it is not tried again" if is_unusable(slot) else f"tried every {policy.park_probe_seconds:g} s"
        refused = slot.faults[-1].message if slot.faults else ""
        if refused:
            cause, then = f"it could not be started: {refused}", "mend it"
        else:
            cause, then = str(slot.last_exit.cause) if slot.last_exit else "-", f"see `workerctl why {seat}`"
        yield f"{seat} was given up ({cause}), {again}; {then}, then `workerctl reset {team.group.name}`"
    if recycle_streak(slot, policy) >= policy.recycle_warning:
        yield (
            f"{seat} is replaced again and again, each time within {policy.recycle_window_seconds:g} s: "
            f"{_reason(team, slot)}; see `workerctl why {seat}`"
        )


def _reason(team: Team, slot: Slot) -> str:
    if slot.last_exit is not None and slot.last_exit.cause is Cause.MEMORY_SOFT:
        return f"max_memory is {(team.group.max_memory_bytes or 0) >> 20} MB, and its code needs more at once: raise it"
    return "its lifetime or max_jobs is that short: raise it"
