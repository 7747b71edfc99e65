"""Who asked: the peers of the control socket by name, and which ends were whose wish."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from . import events as ev
from .control import Request
from .members import Member
from .signals import Arrived
from .states import Cause

SENT_BY_HAND = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL})  # no fault of code ends so
SECRET_NAMES = ("passwd", "secret", "token", "credential", "api_key", "api-key", "apikey")  # of options and variables
TEXT_LIMIT = 200  # characters of a command line or a reason that are kept


class Asker(msgspec.Struct, frozen=True):
    """Somebody who changed what runs: the peer of a command, or whoever sent a signal."""

    command: str  # with its arguments: scale pool=default to=3
    uid: int | None = None
    pid: int | None = None
    command_line: str | None = None  # of the peer, as it was when it asked
    reason: str | None = None

    @property
    def text(self) -> str:
        """In one line, for who reads of it elsewhere."""
        who = f" from pid {self.pid}, uid {self.uid}" if self.pid else ""
        return f"{self.command}{who}{f': {self.command_line}' if self.command_line else ''}"

    def document(self) -> dict[str, Any]:
        """For the history; `why` adds the name of the user."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}


class Askers:
    """Remembers the last wish for each group and cause, so that a planned end can be told with who wanted it."""

    def __init__(self) -> None:
        self._wishes: dict[tuple[str | None, Cause], Asker] = {}  # group None: everything

    def wished(self, facts: Iterable[ev.Event], asker: Asker) -> None:
        """These facts are what `asker` wanted."""
        for fact in facts:
            match fact:
                case ev.Scaled(group=group):
                    self._wishes[group, Cause.SCALED] = asker
                case ev.RestartAsked(group=group):
                    self._wishes[group, Cause.ASKED] = asker
                case ev.ReloadBegan():
                    self._wishes[None, Cause.RELOAD] = asker
                case ev.StopAsked():
                    self.forget(Cause.ASKED)
                    self._wishes[None, Cause.ASKED] = asker

    def forget(self, cause: Cause) -> None:
        """From now on ends of this cause are nobody's wish, until somebody asks again."""
        self._wishes = {key: wish for key, wish in self._wishes.items() if key[1] is not cause}

    def of(self, group: str, member: Member, cause: Cause) -> Asker | None:
        """Who wanted this end; None where it was nobody's wish, or the process left by itself."""
        if cause not in (member.drain_cause, member.kill_cause):
            return None
        return self._wishes.get((group, cause)) or self._wishes.get((None, cause))


def asker_of(request: Request) -> Asker:
    """The peer of a command. It waits for our answer, so that its pid is still its own."""
    arguments = dict(request.arguments)
    reason = arguments.pop("reason", None)
    arguments.pop("composition", None)  # a path that says nothing to anybody
    words = [request.command, *(f"{name}={value}" for name, value in arguments.items() if value is not None)]
    return Asker(
        command=" ".join(words)[:TEXT_LIMIT],
        uid=request.uid,
        pid=request.pid,
        command_line=_command_line(request.pid),
        reason=" ".join(str(reason).split())[:TEXT_LIMIT] if reason else None,
    )


def sender_of(arrived: Arrived) -> Asker:
    """Who sent this signal. A command such as `kill` may have ended since, and is then a pid alone."""
    name = signal.Signals(arrived.number).name
    if arrived.by_kernel:
        return Asker(f"{name} of the terminal")
    if arrived.pid == 0:
        return Asker(f"{name} from outside this container")
    return Asker(name, arrived.uid, arrived.pid, _command_line(arrived.pid) if arrived.pid else None)


def stranger(event: ev.Exited, member: Member) -> Asker | None:
    """Somebody else, where nothing that we did explains an end. Who sent a signal, only its receiver could learn."""
    if event.cause in (member.drain_cause, member.kill_cause):
        return None
    if event.cause is Cause.CRASH and event.signal in SENT_BY_HAND:
        return Asker(f"{signal.Signals(event.signal).name} that workerctl did not send")
    if event.cause is Cause.ASKED and member.said_draining and member.words is None:
        return Asker("SIGTERM that workerctl did not send")
    return None


def starter() -> Asker:
    """Who started us: `start` in the background, else the shell or whoever wraps us."""
    parent = os.getppid()
    return Asker(f"start as pid {os.getpid()}", os.getuid(), parent, _command_line(parent))


def _command_line(pid: int) -> str | None:
    """What the peer was started as; words that may hold a password are hidden."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    shown, is_value = [], False
    for word in words:
        is_secret = _may_hold_a_secret(word.lower())
        shown.append("***" if is_secret or is_value else word)
        is_value = is_secret and word.startswith("-") and "=" not in word  # --token VALUE
    return " ".join(" ".join(shown).split())[:TEXT_LIMIT] or None


def _may_hold_a_secret(word: str) -> bool:
    is_named = word.startswith("-") or "=" in word  # a folder may be named so too
    return "://" in word or "password" in word or (is_named and any(name in word for name in SECRET_NAMES))
