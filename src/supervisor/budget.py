"""How many workers of a machine may be away at once, for every reason together. Pure."""

from __future__ import annotations

import msgspec

from .composition import Policy
from .roster import Roster, Team


class Budget(msgspec.Struct):
    """How many more slots may be under way at once: one number for all pools and all reasons."""

    slots: int
    canary: bool = True  # a release that has not proven itself may start one more worker

    def take(self) -> bool:
        """One of them, where there is one."""
        has_one = self.slots > 0
        self.slots -= has_one
        return has_one


def room_to_replace(roster: Roster, policy: Policy) -> int:
    pools = [team for team in roster.teams.values() if team.group.kind == "pool"]
    workers = sum(team.desired for team in pools)
    return max(1, policy.surge(workers)) - sum(_away(team) for team in pools)


def _away(team: Team) -> int:
    """Slots without a serving process, or with two: both are paid from one budget. Parked ones are not under way."""
    return sum(
        len(slot.members) > 1 or bool(slot.members and not slot.is_ready) or slot.is_vacant
        for slot in team.slots
        if not slot.retired
    )
