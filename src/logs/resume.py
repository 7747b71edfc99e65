"""Finds where an earlier collector stopped counting, so that a new one goes on."""

# pathlib would cost the collector a megabyte:
# ruff: noqa: PTH123
from __future__ import annotations

import os

_LOOK_BACK_BYTES = (64 * 1024, 2 * 1024 * 1024)  # further only where one long line fills the nearer part


def last_sequence(path: str, serial: int) -> int:
    """The last sequence number of a worker process in the ends of its slot's files, 0 where there is none."""
    base, _, _ = path.removesuffix(".log").rpartition(".")
    return max(last_sequence_in(f"{base}.{stream}.log", serial) for stream in ("out", "err"))


def last_sequence_in(path: str, serial: int) -> int:
    """The same in one stream's files alone."""
    for file in (path, f"{path}.1"):
        for look_back_bytes in _LOOK_BACK_BYTES:
            found = _last_in(_end_of(file, look_back_bytes), b"%d" % serial)
            if found:
                return found
    return 0


def _end_of(path: str, look_back_bytes: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - look_back_bytes))
            return file.read(look_back_bytes)
    except OSError:
        return b""


def _last_in(end: bytes, serial: bytes) -> int:
    for line in reversed(end.split(b"\n")):
        fields = line.split(b" ", 3)
        if len(fields) == 4 and fields[2] == serial and fields[1].isdigit():
            return int(fields[1])
    return 0
