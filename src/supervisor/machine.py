"""Reads what memory there is and whom the kernel killed for it: cgroups v1 and v2, their folders are parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from .members import Memory

PRESSURE = Path("/proc/pressure/memory")


def machine_memory(cgroups: Sequence[Path], pressure: Path = PRESSURE) -> Memory:
    """Of the machine, or of the cgroup above us that has least left; stalls are those of whoever stalls most."""
    machine = psutil.virtual_memory()
    found = [Memory(machine.total, machine.available)]
    for folder in cgroups:
        memory = _of_cgroup(folder)
        if memory is not None and memory.total_bytes < machine.total:
            found.append(memory)
    least = min(found, key=lambda memory: memory.available_bytes)
    stalls = (_stalled_percent(path) for path in (pressure, *(folder / "memory.pressure" for folder in cgroups)))
    return replace(least, stalled_percent=max(stalls))


class KernelKills:
    """Counts the kills of the kernel in our own cgroup; what happened before we started is not ours."""

    def __init__(self, cgroups: Sequence[Path]) -> None:
        self._folder = next(iter(cgroups), None)
        self._seen = self._count()

    def has_killed(self) -> bool:
        """Whether there is a kill that no process was told as the victim of; this call takes it."""
        if self._count() <= self._seen:
            return False
        self._seen += 1
        return True

    def _count(self) -> int:
        if self._folder is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):  # v2, v1
            with contextlib.suppress(OSError, ValueError):
                fields = (line.split() for line in (self._folder / name).read_text().splitlines())
                return int(next((value for key, value in fields if key == "oom_kill"), "0"))
        return 0


def _of_cgroup(folder: Path) -> Memory | None:
    """The page cache that can be dropped counts as available, as it does for the machine."""
    for limit_name, usage_name, cache_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, usage = _text(folder / limit_name), _text(folder / usage_name)
        if limit.isdigit() and usage.isdigit() and int(limit) > 0:
            used = max(0, int(usage) - _field(folder / "memory.stat", cache_name))
            return Memory(int(limit), max(0, int(limit) - used))
    return None


def _stalled_percent(path: Path) -> float:
    """`full avg10` of a pressure file of the kernel; 0 where there is none, as before Linux 4.20."""
    for line in _text(path).splitlines():
        kind, _, fields = line.partition(" ")
        values = dict(field.partition("=")[::2] for field in fields.split())
        if kind == "full":
            with contextlib.suppress(ValueError):
                return float(values.get("avg10", "0"))
    return 0.0


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return ""


def _field(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0
