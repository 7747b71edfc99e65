"""Reads what processes use, a few at a time so that no round of the loop grows long."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from .children import Child
from .kernel_files import read_small
from .members import Member, Usage

AT_ONCE = 32
CURVE_SAMPLES = 60
NEAR = 0.8  # of a limit: from here on the precise size is worth its milliseconds
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PRIVATE_BUDGET_SECONDS = 0.02  # of one `status`; who is left out shows what was measured before


class Gauge:
    """Samples every child once per period; remembers what it needs for CPU shares between two samples."""

    def __init__(self, period_seconds: float) -> None:
        self._period_seconds = period_seconds
        self._cpu: dict[int, tuple[float, float]] = {}  # pid: measured when, and its CPU seconds then
        self._queue: list[Child] = []
        self._portions = 1
        self._curves: dict[int, deque[int]] = {}  # pid: the last sizes in MB
        self._private: dict[int, tuple[float, int]] = {}  # pid: measured when, and what
        self.next_at = 0.0

    def turn(self, now: float, children: Iterable[Child]) -> Iterator[tuple[Child, Usage]]:
        """The next portion, where its time has come."""
        if now < self.next_at:
            return
        if not self._queue:
            self._queue = [child for child in children if child.pid is not None]
            self._portions = max(1, -(-len(self._queue) // AT_ONCE))
        portion, self._queue = self._queue[:AT_ONCE], self._queue[AT_ONCE:]
        self.next_at = now + self._period_seconds / self._portions
        for child in portion:
            usage = self._sample(child, child.pid) if child.pid is not None else None
            if usage is not None:
                yield child, usage

    def curve(self, pid: int | None) -> list[int]:
        """The last sizes of this process in MB, oldest first, one for each period; its end may be a period ago."""
        return list(self._curves.get(pid or 0, ()))

    def measure_private(self, members: Iterable[Member]) -> dict[int, int]:
        """Bytes that only a process itself holds, by pid: 1 to 10 ms each, so only on demand, oldest first."""
        begun = time.monotonic()
        pids = {member.pid for member in members if member.pid is not None}
        self._private = {pid: known for pid, known in self._private.items() if pid in pids}
        for pid in sorted(pids, key=lambda pid: self._private.get(pid, (0.0, 0))[0]):
            measured_at, _ = self._private.get(pid, (float("-inf"), 0))
            if begun - measured_at < self._period_seconds:
                continue
            if time.monotonic() - begun > PRIVATE_BUDGET_SECONDS:
                break
            if (size_bytes := _private_bytes(pid)) is not None:
                self._private[pid] = (begun, size_bytes)
        return {pid: size for pid, (_, size) in self._private.items()}

    def forget(self, pid: int) -> None:
        for known in (self._cpu, self._curves):
            known.pop(pid, None)

    def _sample(self, child: Child, pid: int) -> Usage | None:
        own_bytes, cpu_seconds = _resident_and_cpu(pid)
        if own_bytes == 0:  # gone, or it waits to be reaped: what it used is told by the sample before
            return None
        descendants = list(_children(pid) if child.group.role else _descendants(pid))  # PostgreSQL's have none
        theirs = [_resident_and_cpu(each) for each in descendants]
        all_bytes = own_bytes + (0 if child.group.role else sum(size_bytes for size_bytes, _ in theirs))
        usage = Usage(all_bytes, self._cpu_percent(pid, cpu_seconds + sum(seconds for _, seconds in theirs)))
        limit = child.group.max_memory_bytes
        if limit is not None and usage.rss_bytes > NEAR * limit:
            private = [_private_bytes(each) for each in (pid, *descendants)]
            if private[0] is not None:
                usage = replace(usage, private_bytes=sum(size or 0 for size in private))
        self._curves.setdefault(pid, deque(maxlen=CURVE_SAMPLES)).append(usage.size_bytes >> 20)
        return usage

    def _cpu_percent(self, pid: int, used: float) -> float:
        """Since the sample before. What a child used that somebody else reaped is used by nobody."""
        now = time.monotonic()
        before, used_before = self._cpu.get(pid, (now, used))
        self._cpu[pid] = (now, used)
        return round(max(0.0, 100 * (used - used_before) / (now - before)), 1) if now > before else 0.0


def _descendants(pid: int) -> Iterator[int]:
    """Its children and theirs."""
    for child in _children(pid):
        yield child
        yield from _descendants(child)


def _children(pid: int) -> Iterator[int]:
    """Whichever thread started them; none where the system does not tell."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for task in tasks:
        yield from map(int, read_small(task / "children").split())


def _resident_and_cpu(pid: int) -> tuple[int, float]:
    """Bytes in memory and CPU seconds, those of children that it has reaped included; nothing where it is gone, or no
    descriptor is left to read with.

    Read here, as psutil would be a megabyte of the supervisor.
    """
    _, _, fields = read_small(f"/proc/{pid}/stat").rpartition(") ")  # before it the name, which may hold anything
    match fields.split():
        case [_, _, _, _, _, _, _, _, _, _, _, user, system, reaped_user, reaped_system, _, _, _, _, _, _, pages, *_]:
            ticks = int(user) + int(system) + int(reaped_user) + int(reaped_system)
            return int(pages) * PAGE_BYTES, ticks / TICKS_A_SECOND
    return 0, 0.0


def _private_bytes(pid: int) -> int | None:
    """What would be free without it, swapped pages included; None where it is gone or the system does not tell."""
    lines = read_small(f"/proc/{pid}/smaps_rollup").splitlines()
    if not lines:
        return None
    fields = (line.split() for line in lines[1:])
    return 1024 * sum(int(size) for name, size, *_ in fields if name in ("Private_Clean:", "Private_Dirty:", "Swap:"))
