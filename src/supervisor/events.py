"""Facts: what happened, each a class of its own. The log names an event by its class."""

from __future__ import annotations

from dataclasses import dataclass, field

from .composition import Group
from .members import Memory, Usage, Words, Work
from .states import Cause


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a monotonic instant."""

    at: float


@dataclass(frozen=True, slots=True)
class MemberEvent(Event):
    """Something that happened to one process. `serial` is its number, unique in this supervisor's life."""

    group: str
    slot: int
    serial: int


@dataclass(frozen=True, slots=True)
class GotAlone(Event):
    """run/alive is ours: every process of an earlier supervisor has ended."""


@dataclass(frozen=True, slots=True)
class Spawned(MemberEvent):
    """A process was started; for a fork, asked of its template, and the pid follows with `Forked`."""

    pid: int | None = None
    incarnation: str | None = None
    replaces: Cause | None = None
    release: int = 1
    template: int | None = None  # serial of the template that was asked


@dataclass(frozen=True, slots=True)
class Forked(MemberEvent):
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed(MemberEvent):
    """There is no process: exec or fork was refused. `fault`: trying again soon is unlikely to help."""

    message: str
    fault: bool
    jitter: float


@dataclass(frozen=True, slots=True)
class ForkLost(MemberEvent):
    """The template ended before it answered; nobody's fault but its own."""


@dataclass(frozen=True, slots=True)
class Went(MemberEvent):
    """`go` was sent to a worker whose pid is recorded."""


@dataclass(frozen=True, slots=True)
class BecameReady(MemberEvent):
    fingerprint: str = ""  # a template's, of the code it has imported


@dataclass(frozen=True, slots=True)
class Heartbeat(MemberEvent):
    work: Work


@dataclass(frozen=True, slots=True)
class SaidDraining(MemberEvent):
    """It stopped claiming and finishes what it has."""


@dataclass(frozen=True, slots=True)
class SaidFailed(MemberEvent):
    """Last words: it will end with this exit code."""

    words: Words


@dataclass(frozen=True, slots=True)
class MemorySampled(MemberEvent):
    usage: Usage


@dataclass(frozen=True, slots=True)
class MachineSampled(Event):
    memory: Memory


@dataclass(frozen=True, slots=True)
class TrimSent(MemberEvent):
    """It was asked to give back what it does not need."""


@dataclass(frozen=True, slots=True)
class RestSent(MemberEvent):
    """It was asked to claim no more, or to claim again."""

    rests: bool


@dataclass(frozen=True, slots=True)
class DrainSent(MemberEvent):
    """It was asked to leave by its stop signal."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class HurrySent(MemberEvent):
    """It was asked a second time."""


@dataclass(frozen=True, slots=True)
class DumpSent(MemberEvent):
    """It was told to write the stacks of its threads to its standard error."""


@dataclass(frozen=True, slots=True)
class KillSent(MemberEvent):
    cause: Cause


@dataclass(frozen=True, slots=True)
class Exited(MemberEvent):
    """It ended and was reaped. `jitter` in [0, 1) spreads the next try."""

    code: int | None
    signal: int | None
    cause: Cause
    jitter: float = 0.0


@dataclass(frozen=True, slots=True)
class Parked(Event):
    group: str
    slot: int


@dataclass(frozen=True, slots=True)
class Unparked(Event):
    """The parked slot may try again; one more fault parks it anew."""

    group: str
    slot: int


@dataclass(frozen=True, slots=True)
class Retired(Event):
    """A slot is no longer wanted."""

    group: str
    slot: int


@dataclass(frozen=True, slots=True)
class Scaled(Event):
    group: str
    desired: int


@dataclass(frozen=True, slots=True)
class RestartAsked(Event):
    group: str


@dataclass(frozen=True, slots=True)
class ReloadBegan(Event):
    """New code or settings shall be tried; a reload that was under way is given up for it."""

    number: int
    release: str
    templates: dict[str, Group]  # new teams, started beside the committed ones
    pools: dict[str, Group]
    others: dict[str, Group]
    added: dict[str, Group] = field(default_factory=dict)  # pools and apps that begin once the release is committed
    removed: tuple[str, ...] = ()  # and those that leave then
    order: tuple[str, ...] = ()  # of all groups that there will be: each after those it waits for


@dataclass(frozen=True, slots=True)
class ReloadFailed(Event):
    """The new release is given up; the committed one serves on."""

    number: int
    words: Words
    who: tuple[str, int, int] | None = None  # group, slot and serial of the process that failed


@dataclass(frozen=True, slots=True)
class Committed(Event):
    """Every worker is of the new release: it is what will be started from now on."""

    number: int


@dataclass(frozen=True, slots=True)
class ResetAsked(Event):
    group: str


@dataclass(frozen=True, slots=True)
class StopAsked(Event):
    """Everything shall end; `outcome` is how the supervisor ends then."""

    outcome: Words


@dataclass(frozen=True, slots=True)
class Hurried(Event):
    """Whoever asked for the stop does not want to wait for drains."""


@dataclass(frozen=True, slots=True)
class Booted(Event):
    """Every group was decided: it serves or it was given up for now."""


@dataclass(frozen=True, slots=True)
class Introduced(MemberEvent):
    """The agent was told the pools and the living workers."""


@dataclass(frozen=True, slots=True)
class LostTold(Event):
    incarnation: str


@dataclass(frozen=True, slots=True)
class Released(Event):
    """The agent gave back what a lost worker had claimed."""

    incarnation: str
    jobs: int


@dataclass(frozen=True, slots=True)
class PrimaryChanged(Event):
    holds_lease: bool
    holder: str | None


@dataclass(frozen=True, slots=True)
class Slept(Event):
    """The supervisor itself did not run for a while: heartbeats of that time say nothing."""

    seconds: float
