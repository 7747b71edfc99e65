"""Listens to children, living and dead: their messages and their ends become facts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from ..contract import ChannelClosed
from . import events as ev
from .children import Child, Children
from .journal import Journal
from .machine import KernelKills
from .measure import Gauge
from .messages import BadMessage, understand
from .probes import Probes
from .processes import Ended, Processes
from .readiness import Readiness
from .restart import cause_of
from .roster import Roster
from .streams import Streams

EARLY_KEPT = 256

Record = Callable[[ev.Event], None]


def jitter() -> float:
    """A number in [0, 1); the `random` module would cost the supervisor a megabyte for it."""
    return int.from_bytes(os.urandom(4)) / 2**32


class Ears:
    """Keeps the handles of children in step with the facts it records."""

    def __init__(
        self,
        *,
        processes: Processes,
        children: Children,
        streams: Streams,
        probes: Probes,
        gauge: Gauge,
        journal: Journal,
        readiness: Readiness,
        kernel: KernelKills,
        on_other_end: Callable[[Ended], None],
        roster: Callable[[], Roster],
        record: Record,
    ) -> None:
        self._processes = processes
        self._children = children
        self._streams = streams
        self._probes = probes
        self._gauge = gauge
        self._journal = journal
        self._readiness = readiness
        self._kernel = kernel
        self._on_other_end = on_other_end
        self._roster = roster
        self._record = record
        self._early: dict[int, Ended] = {}  # ended before their template told who they are

    def listen(self, child: Child) -> None:
        """Take in everything this child has said."""
        if child.channel is None:
            return
        now = time.monotonic()
        try:
            messages = child.channel.receive()
        except ChannelClosed:
            self._children.hang_up(child)
            return
        except (ValueError, IndexError, TypeError) as error:
            self._journal.say("BadMessage", slot=_seat(child), serial=child.serial, error=str(error)[:200])
            self._children.hang_up(child)  # nothing after it can be trusted
            return
        for message in messages:
            try:
                self._take(child, message, now)
            except BadMessage as error:
                self._journal.say("BadMessage", slot=_seat(child), serial=child.serial, error=str(error))

    def reap(self) -> None:
        """Take in every end."""
        for end in self._processes.reap(before=self._last_words):
            now = time.monotonic()
            child = self._children.by_pid(end.pid)
            if child is not None:
                self._bury(child, end, now)
            elif (ready := self._probes.ended(end, now)) is not None:
                self._record(ev.BecameReady(now, ready.group.name, ready.slot, ready.serial))
            else:
                self._on_other_end(end)
            if child is None and any(waiting.pid is None for waiting in self._children):
                self._early[end.pid] = end
                if len(self._early) > EARLY_KEPT:
                    del self._early[next(iter(self._early))]

    def _last_words(self, pid: int) -> None:
        child = self._children.by_pid(pid)
        if child is not None:
            self.listen(child)

    def _bury(self, child: Child, end: Ended, now: float) -> None:
        self._forget(child)
        name, slot, serial = child.group.name, child.slot, child.serial
        member = self._roster().member(name, slot, serial)
        if member is not None:
            ours = member.kill_cause is not None  # and then the kernel's kill is somebody else's
            oom_killed = end.signal == signal.SIGKILL and not ours and self._kernel.has_killed()
            cause = cause_of(child.group.kind, member, end.code, oom_killed=oom_killed)
            self._record(ev.Exited(now, name, slot, serial, end.code, end.signal, cause, jitter()))
        self._gauge.forget(end.pid)  # not before: the fact above is written down with its memory curve
        for waiting in self._children.awaited_from(serial):
            self._forget(waiting)
            self._record(ev.ForkLost(now, waiting.group.name, waiting.slot, waiting.serial))
        if child.group.kind == "collector":
            self._streams.detach()

    def _forget(self, child: Child) -> None:
        self._children.remove(child)
        self._probes.forget(child.serial)
        self._readiness.forget(child.serial)
        self._streams.process_ended(child.serial)

    def _take(self, child: Child, message: Any, now: float) -> None:
        if not isinstance(message, dict):
            raise BadMessage(f"not an object: {str(message)[:200]}")
        for fd in message.pop("fds", ()):
            os.close(fd)  # nobody sends us descriptors
        match message.get("type"):
            case "forked" if child.group.kind == "template":
                self._forked(message, now)
            case "fork-failed" if child.group.kind == "template":
                self._fork_failed(message, now)
            case "stream-ended" if child.group.kind == "collector":
                self._streams.ended(str(message.get("stream")))
            case _:
                event = understand(child, message, now)
                self._record(event)
                if isinstance(event, ev.BecameReady) and child.group.kind == "collector" and child.channel:
                    self._streams.attach(child.channel)
                    self._children.watch_writing(child)

    def _forked(self, message: dict[str, Any], now: float) -> None:
        child, pid = self._children.by_serial(message.get("serial")), message.get("pid")
        if child is None or child.pid is not None or type(pid) is not int:
            raise BadMessage(f"nobody awaits {message}")
        early = self._early.pop(pid, None)
        self._children.forked(child, pid)
        self._processes.know(pid)
        self._record(ev.Forked(now, child.group.name, child.slot, child.serial, pid))
        if early is not None and not self._processes.is_child(pid):
            self._processes.forget(pid)
            self.listen(child)
            self._bury(child, early, now)

    def _fork_failed(self, message: dict[str, Any], now: float) -> None:
        child = self._children.by_serial(message.get("serial"))
        if child is None or child.pid is not None:
            raise BadMessage(f"nobody awaits {message}")
        self._forget(child)
        self._streams.forget(child.serial)
        text = str(message.get("message"))[:500]
        name, slot, serial = child.group.name, child.slot, child.serial
        self._record(ev.SpawnFailed(now, name, slot, serial, text, fault=False, jitter=jitter()))


def _seat(child: Child) -> str:
    return f"{child.group.name}/{child.slot}"
