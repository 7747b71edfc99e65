"""Programs without a channel that outlived a killed supervisor: found by what it wrote down, and made to leave."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec.structs import asdict

from .children import Child
from .state import write_atomically


class Record(msgspec.Struct, frozen=True):
    """A process that cannot be taken for another: pids come again, start times of one boot do not."""

    pid: int
    started: str
    stop_signal: str


class Leftovers:
    """Keeps run/apps.json, and deals with the one that an earlier supervisor left."""

    def __init__(self, home: Path, patience_seconds: float) -> None:
        self._path = home / "run" / "apps.json"
        self._patience_seconds = patience_seconds
        self._left = _read(self._path)
        self._asked_at: float | None = None
        self._noted: tuple[Record, ...] = tuple(self._left)

    def are_gone(self, now: float) -> bool:
        """False while one of them lives. They are asked to leave once; killed when their time is over."""
        self._left = [record for record in self._left if record.started == started(record.pid)]
        if self._left and self._asked_at is None:
            self._asked_at = now
            for record in self._left:
                _send(record.pid, signal.Signals[record.stop_signal])
        elif self._asked_at is not None and now - self._asked_at > self._patience_seconds:
            for record in self._left:
                _send(record.pid, signal.SIGKILL)
        return not self._left

    def note(self, children: Iterable[Child]) -> None:
        """Write down who would be left now; nothing where that is known already."""
        present = tuple(
            Record(child.pid, started(child.pid), child.group.stop_signal)
            for child in children
            if child.pid is not None and not child.group.role
        )
        if present != self._noted:
            self._noted = present
            with contextlib.suppress(OSError):  # a full disk: then a later supervisor does not know of them
                write_atomically(self._path, json.dumps([asdict(record) for record in present]).encode())


def started(pid: int) -> str:
    """When this process began, unique in this machine's boot; empty where there is none that runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else f"{boot} {fields[19]}"


def _read(path: Path) -> list[Record]:
    try:
        found = [Record(**record) for record in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        return []
    return [record for record in found if record.started]


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, number)
