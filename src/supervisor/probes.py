"""Readiness that is asked for again and again: a command ends with 0, or a port answers."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .children import Child
from .processes import Ended, Processes
from .readiness import accepts
from .spawn import run_probe

PATIENCE_SECONDS = 5.0  # a probe that hangs is killed and counts as a no


class Probe(msgspec.Struct):
    """The probing of one child."""

    child: Child
    due_at: float
    pid: int | None = None


class Probes:
    """One probe per child that is not ready yet, at most one process of it at a time."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._by_serial: dict[int, Probe] = {}

    def begin(self, child: Child, now: float) -> None:
        self._by_serial[child.serial] = Probe(child, now)

    def forget(self, serial: int) -> None:
        probe = self._by_serial.pop(serial, None)
        if probe is not None and probe.pid is not None:
            self._processes.kill(probe.pid)

    def next_at(self) -> float:
        return min((probe.due_at for probe in self._by_serial.values()), default=float("inf"))

    def turn(self, now: float) -> Iterator[Child]:
        """Begin what is due; the children whose port answers."""
        for probe in list(self._by_serial.values()):
            ready = probe.child.group.ready
            if ready.kind == "port" and probe.due_at <= now and accepts(ready.port):
                del self._by_serial[probe.child.serial]
                yield probe.child
        self._begin_due(now)

    def _begin_due(self, now: float) -> None:
        for probe in self._by_serial.values():
            if probe.due_at > now:
                continue
            if probe.pid is not None:
                self._processes.kill(probe.pid)
                probe.due_at = now + PATIENCE_SECONDS
                continue
            if probe.child.group.ready.kind == "port":
                probe.due_at = now + probe.child.group.ready.interval_seconds
                continue
            try:
                probe.pid = run_probe(probe.child.group.ready.command, probe.child.group.cwd)
            except OSError:
                probe.due_at = now + PATIENCE_SECONDS
                continue
            self._processes.know(probe.pid)
            probe.due_at = now + PATIENCE_SECONDS

    def ended(self, end: Ended, now: float) -> Child | None:
        """The child that this ended probe found ready."""
        probe = next((probe for probe in self._by_serial.values() if probe.pid == end.pid), None)
        if probe is None:
            return None
        probe.pid = None
        probe.due_at = now + probe.child.group.ready.interval_seconds
        if end.code != 0:
            return None
        del self._by_serial[probe.child.serial]
        return probe.child
