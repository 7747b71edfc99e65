"""Steps that `plan` asks for. Each is performed by the loop and comes back as an event."""

from __future__ import annotations

from dataclasses import dataclass

from .members import Words
from .roster import Lost
from .states import Cause


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process in this slot; with `replaces` beside the one that sits there."""

    group: str
    slot: int
    replaces: Cause | None = None
    release: int = 1


@dataclass(frozen=True, slots=True)
class Go:
    """Let a forked worker begin: its pid is recorded. One that does not claim only proves that it can serve."""

    group: str
    slot: int
    serial: int
    claims: bool = True


@dataclass(frozen=True, slots=True)
class Trim:
    """Ask a worker to give back memory that it does not need."""

    group: str
    slot: int
    serial: int


@dataclass(frozen=True, slots=True)
class Rest:
    """Ask a worker to claim no more, or to claim again."""

    group: str
    slot: int
    serial: int
    rests: bool


@dataclass(frozen=True, slots=True)
class Drain:
    """Send the stop signal."""

    group: str
    slot: int
    serial: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Hurry:
    """Send the stop signal a second time."""

    group: str
    slot: int
    serial: int


@dataclass(frozen=True, slots=True)
class Kill:
    group: str
    slot: int
    serial: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class Dump:
    """Have a worker that is about to be killed write the stacks of all its threads."""

    group: str
    slot: int
    serial: int


@dataclass(frozen=True, slots=True)
class Park:
    group: str
    slot: int


@dataclass(frozen=True, slots=True)
class Unpark:
    group: str
    slot: int


@dataclass(frozen=True, slots=True)
class Retire:
    """Give this slot up: there are more than are wanted."""

    group: str
    slot: int


@dataclass(frozen=True, slots=True)
class Introduce:
    """Tell a fresh agent the pools and the living workers."""

    group: str
    slot: int
    serial: int


@dataclass(frozen=True, slots=True)
class TellLost:
    """Have the agent give back what a dead worker held."""

    lost: Lost


@dataclass(frozen=True, slots=True)
class AnnounceReady:
    """Tell systemd or PM2 that the boot is decided."""


@dataclass(frozen=True, slots=True)
class FailReload:
    """Give the new release up."""

    number: int
    words: Words
    who: tuple[str, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """From now on the new release is the one that serves."""

    number: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Stop everything and end so."""

    outcome: Words


Action = (
    Spawn
    | Go
    | Trim
    | Rest
    | Drain
    | Hurry
    | Dump
    | Kill
    | Park
    | Unpark
    | Retire
    | Introduce
    | TellLost
    | AnnounceReady
    | FailReload
    | Commit
    | Finish
)
