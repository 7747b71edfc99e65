"""One process in a slot, the slot, and what is known of both. Values only."""

from __future__ import annotations

import msgspec

from .composition import Group
from .states import Cause, Phase


class Work(msgspec.Struct, frozen=True):
    """What a worker last said about itself."""

    jobs_running: int = 0
    jobs_done: int = 0
    jobs_failed: int = 0
    jobs: tuple[dict[str, object], ...] = ()
    growth: tuple[dict[str, object], ...] = ()  # kind, jobs, bytes: what it grew by while it had this kind in hand
    caches: tuple[dict[str, object], ...] = ()  # use, hits, misses, entries: of @cached
    database: bool = True


class Usage(msgspec.Struct, frozen=True):
    """What a process was last seen to use."""

    rss_bytes: int = 0  # its children's too; of a role its own, as PostgreSQL's processes share most of theirs
    cpu_percent: float = 0.0  # its children's too
    private_bytes: int | None = None  # what it and its children hold alone; measured near the limit only

    @property
    def size_bytes(self) -> int:
        """What is held against a limit: pages shared with a template are nobody's fault."""
        return self.rss_bytes if self.private_bytes is None else self.private_bytes


class Memory(msgspec.Struct, frozen=True):
    """What the machine, or the tightest cgroup above us, has and has left."""

    total_bytes: int
    available_bytes: int
    stalled_percent: float = 0.0  # of the last 10 s everybody waited for memory (PSI); 0 where nobody tells

    @property
    def free_fraction(self) -> float:
        return self.available_bytes / self.total_bytes


class Words(msgspec.Struct, frozen=True):
    """What a process said before it ended, or what its end is told as."""

    exit_code: int
    message: str
    speechless: tuple[str, int, int] | None = None  # group, slot, serial of who ended without a message


IN_ORDER = Words(0, "")  # an end that needs no words


class Exit(msgspec.Struct, frozen=True):
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


class Fault(msgspec.Struct, frozen=True):
    """A try that failed: a death that was nobody's wish, a refused fork, an exit with 69."""

    at: float
    jitter: float  # in [0, 1): spreads the next try
    lived_seconds: float = 0.0
    message: str = ""  # of one that never was a process: why


class Member(msgspec.Struct, frozen=True):
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
    rehearsed: bool = False  # a template that has seen the schema whole
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


class Slot(msgspec.Struct, frozen=True):
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


def describe(end: Exit) -> str:
    """How it ended, as what is said of it."""
    if end.code is not None:
        return f"ended with exit code {end.code}"
    return f"was killed by signal {end.signal}"
