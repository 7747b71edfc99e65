"""What every peer's handler does: say that it began, in one append; the first run of a job to be held then stays."""

from __future__ import annotations

import os
import time

HOLD_SECONDS = 300.0


def mark(path: str, number: int) -> None:
    """Append `number pid monotonic-seconds`, the same clock in every process of the machine."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    line = f"{number} {os.getpid()} {time.clock_gettime(time.CLOCK_MONOTONIC):.6f}\n"
    os.write(descriptor, line.encode())
    os.close(descriptor)


def is_first(path: str, number: int) -> bool:
    """Whether this is the only run of the job so far; call after `mark`."""
    with open(path) as file:  # noqa: PTH123
        return sum(line.startswith(f"{number} ") for line in file) == 1
