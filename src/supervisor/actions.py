"""Steps that `plan` asks for. Each is performed by the loop and comes back as an event."""

from __future__ import annotations

import msgspec

from .members import Words
from .roster import Lost
from .states import Cause


class Spawn(msgspec.Struct, frozen=True):
    """Start a process in this slot; with `replaces` beside the one that sits there."""

    group: str
    slot: int
    replaces: Cause | None = None
    release: int = 1


class Go(msgspec.Struct, frozen=True):
    """Let a forked worker begin: its pid is recorded. One that does not claim only proves that it can serve."""

    group: str
    slot: int
    serial: int
    claims: bool = True


class Trim(msgspec.Struct, frozen=True):
    """Ask a worker to give back memory that it does not need."""

    group: str
    slot: int
    serial: int


class Rest(msgspec.Struct, frozen=True):
    """Ask a worker to claim no more, or to claim again."""

    group: str
    slot: int
    serial: int
    rests: bool


class Drain(msgspec.Struct, frozen=True):
    """Send the stop signal."""

    group: str
    slot: int
    serial: int
    cause: Cause


class Hurry(msgspec.Struct, frozen=True):
    """Send the stop signal a second time."""

    group: str
    slot: int
    serial: int


class Kill(msgspec.Struct, frozen=True):
    group: str
    slot: int
    serial: int
    cause: Cause


class Dump(msgspec.Struct, frozen=True):
    """Have a worker that is about to be killed write the stacks of all its threads."""

    group: str
    slot: int
    serial: int


class Park(msgspec.Struct, frozen=True):
    group: str
    slot: int


class Unpark(msgspec.Struct, frozen=True):
    group: str
    slot: int


class Retire(msgspec.Struct, frozen=True):
    """Give this slot up: there are more than are wanted."""

    group: str
    slot: int


class Introduce(msgspec.Struct, frozen=True):
    """Tell a fresh agent the pools and the living workers."""

    group: str
    slot: int
    serial: int


class TellLost(msgspec.Struct, frozen=True):
    """Have the agent give back what a dead worker held."""

    lost: Lost


class AnnounceReady(msgspec.Struct, frozen=True):
    """Tell systemd or PM2 that the boot is decided."""


class FailReload(msgspec.Struct, frozen=True):
    """Give the new release up."""

    number: int
    words: Words
    who: tuple[str, int, int] | None = None


class Commit(msgspec.Struct, frozen=True):
    """From now on the new release is the one that serves."""

    number: int


class Finish(msgspec.Struct, frozen=True):
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
