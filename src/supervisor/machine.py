"""Reads what memory there is and whom the kernel killed for it: cgroups v1 and v2, their folders are parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from .kernel_files import read_small
from .members import Memory

MEMINFO = Path("/proc/meminfo")
PRESSURE = Path("/proc/pressure/memory")


def machine_memory(cgroups: Sequence[Path], pressure: Path = PRESSURE) -> Memory:
    """Of the machine, or of the cgroup above us that has least left; stalls are those of whoever stalls most."""
    machine = Memory(*(1024 * _field(MEMINFO, name) for name in ("MemTotal:", "MemAvailable:")))
    found = [machine]
    for folder in cgroups:
        memory = _of_cgroup(folder, machine.total_bytes)
        if memory is not None:
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
        return max(
            _field(self._folder / name, "oom_kill") for name in ("memory.events", "memory.oom_control")
        )  # v2, v1


def _of_cgroup(folder: Path, machine_bytes: int) -> Memory | None:
    """None where it limits nothing. Page cache that can be dropped counts as available, as it does for the machine."""
    for limit_name, usage_name, cache_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit = read_small(folder / limit_name).strip()
        if not limit.isdigit() or not 0 < int(limit) < machine_bytes:
            continue
        usage = read_small(folder / usage_name).strip()
        if usage.isdigit():
            used = max(0, int(usage) - _field(folder / "memory.stat", cache_name))
            return Memory(int(limit), max(0, int(limit) - used))
    return None


def _stalled_percent(path: Path) -> float:
    """`full avg10` of a pressure file of the kernel; 0 where there is none, as before Linux 4.20."""
    for line in read_small(path).splitlines():
        kind, _, fields = line.partition(" ")
        values = dict(field.partition("=")[::2] for field in fields.split())
        if kind == "full":
            with contextlib.suppress(ValueError):
                return float(values.get("avg10", "0"))
    return 0.0


def _field(path: Path, name: str) -> int:
    for line in read_small(path).splitlines():
        match line.split():
            case [key, value, *_] if key == name and value.isdigit():
                return int(value)
    return 0
