"""Finds where an earlier collector stopped counting, so that a new one goes on."""

# pathlib would cost the collector a megabyte:
# ruff: noqa: PTH123
from __future__ import annotations

import os

_LOOK_BACK_BYTES = 64 * 1024


def last_sequence(path: str, serial: int) -> int:
    """The last sequence number of a worker process in the ends of its slot's files, 0 where there is none."""
    base, _, _ = path.removesuffix(".log").rpartition(".")
    files = (f"{base}.{stream}.log{rotated}" for stream in ("out", "err") for rotated in ("", ".1"))
    return max(_last_in(_end_of(file), b"%d" % serial) for file in files)


def _end_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOK_BACK_BYTES))
            return file.read(_LOOK_BACK_BYTES)
    except OSError:
        return b""


def _last_in(end: bytes, serial: bytes) -> int:
    for line in reversed(end.split(b"\n")):
        fields = line.split(b" ", 3)
        if len(fields) == 4 and fields[2] == serial and fields[1].isdigit():
            return int(fields[1])
    return 0
