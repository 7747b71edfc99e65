"""The supervisor's own log: one line for each fact, named by its class."""

from __future__ import annotations

import contextlib
import json
import os
import select
import stat
import time
from pathlib import Path
from typing import Any

from . import events as ev

_QUIET = (ev.Heartbeat, ev.MemorySampled, ev.MachineSampled, ev.LostTold, ev.Went)


LIMIT_BYTES = 10 * 1024 * 1024  # of supervisor.log, before it becomes supervisor.log.1


class Journal:
    """Writes to standard error, and in the foreground to logs/supervisor.log too. Never blocks, never raises."""

    def __init__(self, path: Path, *, foreground: bool, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._written_bytes = 0
        self._foreground = foreground
        self._file: int | None = None
        self.dropped_lines = 0
        self.reopen()

    def record(self, event: ev.Event) -> None:
        if not isinstance(event, _QUIET):
            self.say(type(event).__name__, **_fields(event))

    def say(self, name: str, **fields: Any) -> None:
        """One line: time, `event`, its name, its values."""
        values = "".join(f" {key}={_shown(value)}" for key, value in fields.items() if value is not None)
        line = f"{timestamp()} event {name}{values}\n".encode(errors="replace")
        if any(_is_deleted(end) for end in (2, self._file)):
            self.reopen()
        self._write(2, line)
        self._written_bytes += len(line)
        if self._written_bytes > self._limit_bytes / 10:
            self._written_bytes = 0
            self._rotate()
        if self._file is not None:
            self._write(self._file, line)

    def reopen(self) -> None:
        """Follow the path after somebody renamed the file (SIGUSR1) or deleted it."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                os.close(self._file)
                self._file = None
            if self._foreground:
                self._file = self._open()
            elif stat.S_ISREG(os.fstat(2).st_mode):
                fresh = self._open()
                os.dup2(fresh, 2)
                os.close(fresh)

    def _rotate(self) -> None:
        """One older file is kept. What is not our file, such as systemd's journal, is left alone."""
        with contextlib.suppress(OSError):
            here = self._path.stat()
            if here.st_size > self._limit_bytes and any(_is_same(here, end) for end in (2, self._file)):
                self._path.replace(self._path.with_suffix(".log.1"))
                self.reopen()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _write(self, descriptor: int, line: bytes) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        try:
            writable = poll.poll(0)  # a full pipe must not stop the loop
            if not writable or os.write(descriptor, line) < len(line):
                self.dropped_lines += 1
        except OSError:
            self.dropped_lines += 1


def _is_same(file: os.stat_result, descriptor: int | None) -> bool:
    return descriptor is not None and os.path.samestat(file, os.fstat(descriptor))


def _is_deleted(descriptor: int | None) -> bool:
    """What is written there would be seen by nobody."""
    if descriptor is None:
        return False
    with contextlib.suppress(OSError):
        return os.fstat(descriptor).st_nlink == 0 and stat.S_ISREG(os.fstat(descriptor).st_mode)
    return False


def timestamp() -> str:
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1e6):06d}Z"


def _fields(event: ev.Event) -> dict[str, Any]:
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    for name in ("at", "jitter", "order"):
        values.pop(name, None)
    if values.get("fingerprint") == "":
        del values["fingerprint"]  # a template's alone: workers run what it has imported
    if "group" in values and "slot" in values:
        values = {"slot": f"{values.pop('group')}/{values.pop('slot')}", **values}
    for name in ("templates", "pools", "others", "added", "removed"):
        if name in values:
            values[name] = ",".join(values[name]) or None  # the names: an environment may hold secrets
    for name in ("words", "outcome"):
        if name in values:
            words = values.pop(name)
            values |= {"exit_code": words.exit_code, "message": words.message or None}
    return values


def _shown(value: Any) -> str:
    text = str(value)
    return text if text and not set(text) & set(' "=\n\t') else json.dumps(text, ensure_ascii=False)
