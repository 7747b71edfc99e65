"""What the measured handlers wrote down."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """The start of one attempt; `at` is CLOCK_MONOTONIC, the same in every process of the machine."""

    job_id: int
    attempt: int
    pid: int
    at: float


def read_stamps(path: Path) -> list[Stamp]:
    """Every stamp in the order written; none where there is no file yet."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    fields = (line.split() for line in lines)
    return [Stamp(int(job_id), int(attempt), int(pid), float(at)) for job_id, attempt, pid, at in fields]


class Mark(NamedTuple):
    """The beginning of a job by its own number, whichever queue ran it."""

    number: int
    pid: int
    at: float


def read_marks(path: Path) -> list[Mark]:
    """Every mark in the order written; none where there is no file yet."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    fields = (line.split() for line in lines)
    return [Mark(int(number), int(pid), float(at)) for number, pid, at in fields]
