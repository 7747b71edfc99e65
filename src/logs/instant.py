"""Instants as log lines carry them: UTC, microseconds, always equally long, so that they sort as text."""

from __future__ import annotations

import time

LENGTH = len(b"2026-11-22T10:28:51.123456Z")


def now(minus_seconds: float = 0.0) -> bytes:
    """The present instant, or one before it."""
    seconds, nanoseconds = divmod(time.time_ns() - int(minus_seconds * 1e9), 1_000_000_000)
    return b"%b.%06dZ" % (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(),
        nanoseconds // 1000,
    )


def beginning(line: bytes) -> bytes:
    """The instant that a line begins with, empty where it begins with something else."""
    found = line[:LENGTH]
    return found if len(found) == LENGTH and found[10:11] == b"T" and found.endswith(b"Z") else b""
