"""Facts: what happened, each a class of its own. The log names an event by its class."""

from __future__ import annotations

import msgspec

from .composition import Group
from .members import Memory, Usage, Words, Work
from .states import Cause


class Event(msgspec.Struct, frozen=True):
    """Something that happened at a monotonic instant."""

    at: float


class MemberEvent(Event, frozen=True):
    """Something that happened to one process. `serial` is its number, unique in this supervisor's life."""

    group: str
    slot: int
    serial: int


class GotAlone(Event, frozen=True):
    """run/alive is ours: every process of an earlier supervisor has ended."""


class Spawned(MemberEvent, frozen=True):
    """A process was started; for a fork, asked of its template, and the pid follows with `Forked`."""

    pid: int | None = None
    incarnation: str | None = None
    replaces: Cause | None = None
    release: int = 1
    template: int | None = None  # serial of the template that was asked


class Forked(MemberEvent, frozen=True):
    pid: int


class SpawnFailed(MemberEvent, frozen=True):
    """There is no process: exec or fork was refused. `fault`: trying again soon is unlikely to help."""

    message: str
    fault: bool
    jitter: float


class ForkLost(MemberEvent, frozen=True):
    """The template ended before it answered; nobody's fault but its own."""


class Went(MemberEvent, frozen=True):
    """`go` was sent to a worker whose pid is recorded."""


class Rehearsed(MemberEvent, frozen=True):
    """A template has walked a worker's way to the queue: the schema is there already, and whole."""


class BecameReady(MemberEvent, frozen=True):
    fingerprint: str = ""  # a template's, of the code it has imported


class Heartbeat(MemberEvent, frozen=True):
    work: Work


class SaidDraining(MemberEvent, frozen=True):
    """It stopped claiming and finishes what it has; with a reason where that is its own decision."""

    reason: str | None = None


class SaidFailed(MemberEvent, frozen=True):
    """Last words: it will end with this exit code."""

    words: Words


class MemorySampled(MemberEvent, frozen=True):
    usage: Usage


class MachineSampled(Event, frozen=True):
    memory: Memory


class TrimSent(MemberEvent, frozen=True):
    """It was asked to give back what it does not need."""


class RestSent(MemberEvent, frozen=True):
    """It was asked to claim no more, or to claim again."""

    rests: bool


class DrainSent(MemberEvent, frozen=True):
    """It was asked to leave by its stop signal."""

    cause: Cause


class HurrySent(MemberEvent, frozen=True):
    """It was asked a second time."""


class DumpSent(MemberEvent, frozen=True):
    """It was told to write the stacks of its threads to its standard error."""


class KillSent(MemberEvent, frozen=True):
    cause: Cause


class Exited(MemberEvent, frozen=True):
    """It ended and was reaped. `jitter` in [0, 1) spreads the next try."""

    code: int | None
    signal: int | None
    cause: Cause
    jitter: float = 0.0


class Parked(Event, frozen=True):
    group: str
    slot: int


class Unparked(Event, frozen=True):
    """The parked slot may try again; one more fault parks it anew."""

    group: str
    slot: int


class Retired(Event, frozen=True):
    """A slot is no longer wanted."""

    group: str
    slot: int


class Scaled(Event, frozen=True):
    group: str
    desired: int


class RestartAsked(Event, frozen=True):
    group: str


class ReloadBegan(Event, frozen=True):
    """New code or settings shall be tried; a reload that was under way is given up for it."""

    number: int
    release: str
    templates: dict[str, Group]  # new teams, started beside the committed ones
    pools: dict[str, Group]
    others: dict[str, Group]
    added: dict[str, Group] = msgspec.field(
        default_factory=dict
    )  # pools and apps that begin once the release is committed
    removed: tuple[str, ...] = ()  # and those that leave then
    order: tuple[str, ...] = ()  # of all groups that there will be: each after those it waits for


class ReloadFailed(Event, frozen=True):
    """The new release is given up; the committed one serves on."""

    number: int
    words: Words
    who: tuple[str, int, int] | None = None  # group, slot and serial of the process that failed


class Committed(Event, frozen=True):
    """Every worker is of the new release: it is what will be started from now on."""

    number: int


class ResetAsked(Event, frozen=True):
    group: str


class StopAsked(Event, frozen=True):
    """Everything shall end; `outcome` is how the supervisor ends then."""

    outcome: Words


class Hurried(Event, frozen=True):
    """Whoever asked for the stop does not want to wait for drains."""


class Booted(Event, frozen=True):
    """Every group was decided: it serves or it was given up for now."""


class Introduced(MemberEvent, frozen=True):
    """The agent was told the pools and the living workers."""


class LostTold(Event, frozen=True):
    incarnation: str


class Released(Event, frozen=True):
    """The agent gave back what a lost worker had claimed."""

    incarnation: str
    jobs: int


class PrimaryChanged(Event, frozen=True):
    holds_lease: bool
    holder: str | None


class Slept(Event, frozen=True):
    """The supervisor itself did not run for a while: heartbeats of that time say nothing."""

    seconds: float
