"""Everything the supervisor knows: groups of slots, and the processes that sit in them. Values only."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .composition import Composition, Group, Node
from .members import IN_ORDER, Exit, Member, Memory, Slot, Words
from .states import Cause


class Team(msgspec.Struct, frozen=True):
    """One group and its slots."""

    group: Group
    desired: int
    slots: tuple[Slot, ...]
    opened_at: float | None = None  # its first process was asked for
    restart_at: float = float("-inf")  # whoever was spawned before shall be replaced
    release: int = 1  # the committed one: what crash replacements and scale-ups are forked from
    fingerprint: str = ""  # a template's: of the code that it has imported
    retired: bool = False  # a template that nobody needs any more

    @property
    def wanted(self) -> Iterator[Slot]:
        return (slot for slot in self.slots if not slot.retired and not slot.canary)

    @property
    def all_ready(self) -> bool:
        if self.group.kind == "template":  # the others are spares
            return any(slot.is_ready for slot in self.wanted)
        return all(slot.is_ready for slot in self.wanted)

    @property
    def is_empty(self) -> bool:
        return not any(slot.members for slot in self.slots)


class Lost(msgspec.Struct, frozen=True):
    """A worker that ended and whose jobs the agent has not given back yet."""

    incarnation: str
    cause: Cause
    jobs_in_hand: int
    at: float
    seat: tuple[str, int, int] = ("", 0, 0)  # group, slot, serial: what it wrote last stands in their log
    how: str = ""  # exit code or signal
    told_at: float | None = None


class Primary(msgspec.Struct, frozen=True):
    """What the agent last said about the fleet's lease."""

    holds_lease: bool = False
    holder: str | None = None


class End(msgspec.Struct, frozen=True):
    """An end that matters to a reload: of a process of the new release."""

    group: str
    slot: int
    exit: Exit


class Reload(msgspec.Struct, frozen=True):
    """A release on its way. Its templates are teams beside the committed ones until every worker came from them."""

    number: int
    at: float
    pools: dict[str, Group]  # as they will be; each names its new template
    others: dict[str, Group]  # what else changes once the release is committed: apps, agent, collector
    added: dict[str, Group] = msgspec.field(default_factory=dict)
    removed: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    ends: tuple[End, ...] = ()

    @property
    def templates(self) -> tuple[str, ...]:
        groups = (*self.pools.values(), *self.added.values())
        return tuple(dict.fromkeys(group.template for group in groups if group.template))


class Reloaded(msgspec.Struct, frozen=True):
    """How the last reload ended."""

    number: int
    outcome: str  # committed, failed or superseded
    words: Words
    at: float
    who: tuple[str, int, int] | None = None  # group, slot and serial of the process that failed


class Roster(msgspec.Struct, frozen=True):
    """The supervisor's whole memory. `apply` alone makes new ones."""

    node: Node
    version: str
    release: str  # the committed one's path
    foreground: bool
    exit_when_all_parked: bool
    started_at: float
    teams: dict[str, Team]  # in start order: a group comes after those it waits for
    alone: bool = False  # run/alive is ours: no process of an earlier supervisor lives
    booted_at: float | None = None
    stop_at: float | None = None
    hurried_at: float | None = None
    outcome: Words = IN_ORDER
    lost: tuple[Lost, ...] = ()
    introduced: int | None = None  # serial of the agent that knows pools and living workers
    primary: Primary = Primary()
    memory: Memory | None = None
    last_number: int = 1  # of releases, failed ones included
    release_path: str = ""  # of the newest, committed or not
    reload: Reload | None = None
    reloaded: Reloaded | None = None

    def group(self, name: str, release: int) -> Group:
        """What a process of this release is started as."""
        if self.reload is not None and release == self.reload.number and name in self.reload.pools:
            return self.reload.pools[name]
        return self.teams[name].group

    def target(self, team: Team) -> int:
        """The release that this team's processes shall come to."""
        reloads = self.reload is not None and team.group.name in self.reload.pools
        return self.reload.number if reloads and self.reload is not None else team.release

    def ready_template(self, name: str | None) -> Member | None:
        """The process of this template team that can be asked for a fork."""
        team = self.teams.get(name or "")
        members = (member for slot in team.slots for member in slot.members) if team else ()
        return next((member for member in members if member.is_ready and member.pid is not None), None)

    def member(self, group: str, slot: int, serial: int) -> Member | None:
        found = self.slot(group, slot)
        if found is None:
            return None
        return next((member for member in found.members if member.serial == serial), None)

    def slot(self, group: str, number: int) -> Slot | None:
        team = self.teams.get(group)
        if team is None:
            return None
        return next((slot for slot in team.slots if slot.number == number), None)


def new_roster(
    composition: Composition, desired: dict[str, int], now: float, parked: frozenset[tuple[str, int]] = frozenset()
) -> Roster:
    """Nothing runs yet; `desired` are the persisted counts, which win over the composed ones for pools.

    Slots in `parked` were given up by a supervisor that was killed: each gets one try, as by a probe.
    """
    teams = {}
    for group in composition.groups:
        count = desired.get(group.name, group.instances) if group.kind == "pool" else group.instances
        count = min(count, composition.policy.instance_limit)
        numbers = range(1, count + 1)
        slots = tuple(Slot(number, probing=(group.name, number) in parked) for number in numbers)
        teams[group.name] = Team(group, count, slots)
    return Roster(
        node=composition.node,
        version=composition.version,
        release=composition.release,
        release_path=composition.release,
        foreground=composition.foreground,
        exit_when_all_parked=composition.exit_when_all_parked,
        started_at=now,
        teams=teams,
    )


def shown_name(name: str) -> str:
    """A group's name without the number of its release: templates of all releases write one log."""
    return name.partition(":")[0]
