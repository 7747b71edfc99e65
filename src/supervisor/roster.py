"""Everything the supervisor knows: groups of slots, and the processes that sit in them. Values only."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

from .composition import Composition, Group, Node


class Cause(enum.StrEnum):
    """Why a process ended, as far as the supervisor knows."""

    ASKED = "asked"  # a stop or restart that somebody asked for, or it left by itself in order
    RELOAD = "reload"  # replaced by a worker of another release, or a template that nobody needs any more
    SCALED = "scaled"  # its slot is no longer wanted
    LIFETIME = "lifetime"  # it was as old, or had done as many jobs, as its group allows
    MEMORY_SOFT = "memory-soft"  # replaced after it passed max_memory
    MEMORY_HARD = "memory-hard"  # killed because it passed max_memory_hard
    KERNEL_OOM = "kernel-oom"  # killed by the kernel for want of memory, as the cgroup counts it
    BOOT_ERROR = "boot-error"  # ended by itself before it was ready
    BOOT_TIMEOUT = "boot-timeout"  # killed because it was not ready in time
    CRASH = "crash"
    HUNG = "hung"  # killed because its heartbeat stopped
    DATABASE_AWAY = "database-away"  # exit 69
    PARENT_LOST = "parent-lost"  # its supervisor was killed, so that it left; the next supervisor tells of it


FAULTS = frozenset({Cause.MEMORY_HARD, Cause.KERNEL_OOM, Cause.BOOT_ERROR, Cause.BOOT_TIMEOUT, Cause.CRASH, Cause.HUNG})

RECYCLED = frozenset({Cause.MEMORY_SOFT, Cause.LIFETIME})  # nobody asked for these, and nothing failed


class Phase(enum.StrEnum):
    """Where a slot, or a process in it, stands."""

    EMPTY = "empty"  # nobody sits there (yet, or between two tries)
    STARTING = "starting"  # asked for or running, not ready
    READY = "ready"
    DRAINING = "draining"  # asked to leave; finishes what it has
    STOPPING = "stopping"  # killed; its end is awaited
    PARKED = "parked"  # given up until the next probe, a reset or a scale


class Progress(enum.StrEnum):
    """What the supervisor as a whole is doing, as `status` calls it."""

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"  # serves with less than was asked for
    WAITING = "waiting for database"
    RELOADING = "reloading"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker last said about itself."""

    jobs_running: int = 0
    jobs_done: int = 0
    jobs_failed: int = 0
    jobs: tuple[dict[str, object], ...] = ()
    growth: tuple[dict[str, object], ...] = ()  # kind, jobs, bytes: what it grew by while it had this kind in hand
    database: bool = True


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process was last seen to use."""

    rss_bytes: int = 0  # its children's too
    cpu_percent: float = 0.0
    private_bytes: int | None = None  # what it and its children hold alone; measured near the limit only

    @property
    def size_bytes(self) -> int:
        """What is held against a limit: pages shared with a template are nobody's fault."""
        return self.rss_bytes if self.private_bytes is None else self.private_bytes


@dataclass(frozen=True, slots=True)
class Memory:
    """What the machine, or the tightest cgroup above us, has and has left."""

    total_bytes: int
    available_bytes: int
    stalled_percent: float = 0.0  # of the last 10 s everybody waited for memory (PSI); 0 where nobody tells

    @property
    def free_fraction(self) -> float:
        return self.available_bytes / self.total_bytes


@dataclass(frozen=True, slots=True)
class Words:
    """What a process said before it ended, or what its end is told as."""

    exit_code: int
    message: str
    speechless: tuple[str, int, int] | None = None  # group, slot, serial of who ended without a message


@dataclass(frozen=True, slots=True)
class Exit:
    """One ended process."""

    serial: int
    pid: int | None
    cause: Cause
    code: int | None  # None: ended by a signal
    signal: int | None
    at: float
    uptime_seconds: float
    rss_bytes: int
    jobs_in_hand: int
    message: str
    incarnation: str | None
    release: int = 1
    served_seconds: float | None = None  # since it was ready; None: it never was


@dataclass(frozen=True, slots=True)
class Fault:
    """A try that failed: a death that was nobody's wish, a refused fork, an exit with 69."""

    at: float
    jitter: float  # in [0, 1): spreads the next try
    lived_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Member:
    """One process in a slot."""

    serial: int
    spawned_at: float
    pid: int | None = None  # None: the template has not answered yet
    incarnation: str | None = None
    replaces: Cause | None = None  # why its predecessor goes once this one is ready
    group: Group | None = None  # what it was started as; None: as its team is now
    release: int = 1
    fingerprint: str = ""  # of the code it runs, as its template told
    template: int | None = None  # serial of the template that was asked to fork it
    went_at: float | None = None  # `go` was sent
    ready_at: float | None = None
    heartbeat_at: float | None = None
    work: Work = Work()
    usage: Usage = Usage()
    over_limit_samples: int = 0
    over_hard_samples: int = 0
    trimmed_at: float | None = None  # was asked to give memory back
    rests: bool = False  # was asked to claim no more: the machine is short of memory
    said_draining: bool = False
    words: Words | None = None
    drain_cause: Cause | None = None
    drain_at: float | None = None
    hurry_sent_at: float | None = None
    dump_at: float | None = None  # was told to dump its stacks: a kill follows
    kill_cause: Cause | None = None
    kill_at: float | None = None

    @property
    def phase(self) -> Phase:
        if self.kill_at is not None:
            return Phase.STOPPING
        if self.drain_at is not None:
            return Phase.DRAINING
        return Phase.READY if self.is_ready else Phase.STARTING

    @property
    def is_ready(self) -> bool:
        """A spare may say so before its maker has told its pid; until then nobody can signal it."""
        return self.ready_at is not None and self.pid is not None and not self.is_leaving

    @property
    def is_leaving(self) -> bool:
        return self.drain_at is not None or self.kill_at is not None


@dataclass(frozen=True, slots=True)
class Slot:
    """A numbered seat. Up to two sit in it: the newest last, its predecessor before it."""

    number: int
    members: tuple[Member, ...] = ()
    retired: bool = False  # no longer wanted: its members leave, then it goes
    done: bool = False  # kind once: ended with 0
    was_ready: bool = False  # since the supervisor started
    restarts: int = 0
    faults: tuple[Fault, ...] = ()  # the last ones, oldest first
    absences: tuple[Fault, ...] = ()  # exits with 69 and refused forks since a process was last ready here
    parked_at: float | None = None
    recycles: tuple[Fault, ...] = ()  # planned replacements, as many as faults are kept; `lived` until it was asked
    probing: bool = False  # was parked; the next early fault parks it again
    awaits_release: bool = False  # was parked when a reload began: the new code may try, the old need not
    canary: bool = False  # nobody wants it: it proves the code of a reload where a pool has no worker
    last_exit: Exit | None = None

    @property
    def newest(self) -> Member | None:
        return self.members[-1] if self.members else None

    @property
    def stays(self) -> Member | None:
        """The newest process that nobody asked to leave."""
        member = self.newest
        return None if member is None or member.is_leaving else member

    @property
    def is_ready(self) -> bool:
        return self.done or any(member.is_ready for member in self.members)

    @property
    def is_vacant(self) -> bool:
        """Nobody sits here, and somebody should: it was not given up, and waits for no release."""
        return not self.members and not self.done and self.parked_at is None and not self.awaits_release

    @property
    def phase(self) -> Phase:
        if any(member.is_ready for member in self.members):
            return Phase.READY
        if self.members:
            return self.members[-1].phase
        return Phase.PARKED if self.parked_at is not None else Phase.EMPTY


@dataclass(frozen=True, slots=True)
class Team:
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


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that ended and whose jobs the agent has not given back yet."""

    incarnation: str
    cause: Cause
    jobs_in_hand: int
    at: float
    seat: tuple[str, int, int] = ("", 0, 0)  # group, slot, serial: what it wrote last stands in their log
    how: str = ""  # exit code or signal
    told_at: float | None = None


@dataclass(frozen=True, slots=True)
class Primary:
    """What the agent last said about the fleet's lease."""

    holds_lease: bool = False
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """An end that matters to a reload: of a process of the new release."""

    group: str
    slot: int
    exit: Exit


@dataclass(frozen=True, slots=True)
class Reload:
    """A release on its way. Its templates are teams beside the committed ones until every worker came from them."""

    number: int
    at: float
    pools: dict[str, Group]  # as they will be; each names its new template
    others: dict[str, Group]  # what else changes once the release is committed: apps, agent, collector
    added: dict[str, Group] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    ends: tuple[End, ...] = ()

    @property
    def templates(self) -> tuple[str, ...]:
        groups = (*self.pools.values(), *self.added.values())
        return tuple(dict.fromkeys(group.template for group in groups if group.template))


@dataclass(frozen=True, slots=True)
class Reloaded:
    """How the last reload ended."""

    number: int
    outcome: str  # committed, failed or superseded
    words: Words
    at: float
    who: tuple[str, int, int] | None = None  # group, slot and serial of the process that failed


@dataclass(frozen=True, slots=True)
class Roster:
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
    outcome: Words = Words(0, "")
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


def new_roster(composition: Composition, desired: dict[str, int], now: float) -> Roster:
    """Nothing runs yet; `desired` are the persisted counts, which win over the composed ones for pools."""
    teams = {}
    for group in composition.groups:
        count = desired.get(group.name, group.instances) if group.kind == "pool" else group.instances
        count = min(count, composition.policy.instance_limit)
        teams[group.name] = Team(group, count, tuple(Slot(number) for number in range(1, count + 1)))
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


def describe(end: Exit) -> str:
    """How it ended, as what is said of it."""
    if end.code is not None:
        return f"ended with exit code {end.code}"
    return f"was killed by signal {end.signal}"
