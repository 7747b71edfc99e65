"""What the handlers wrote down outside the queue, and what that says about executions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Record(NamedTuple):
    """One line of a handler; `at` is CLOCK_MONOTONIC, the same in every process of the machine."""

    word: str
    job_id: int
    attempt: int
    pid: int
    at: float


def read(folder: Path) -> list[Record]:
    """Every record of every process, in the order of time."""
    fields = (line.split() for path in folder.iterdir() for line in path.read_text().splitlines())
    records = [Record(word, int(job), int(attempt), int(pid), float(at)) for word, job, attempt, pid, at in fields]
    return sorted(records, key=lambda record: record.at)


def began(records: Iterable[Record]) -> dict[int, list[int]]:
    """The attempts that began, by job, in the order in which they did."""
    found: dict[int, list[int]] = defaultdict(list)
    for record in records:
        if record.word == "began":
            found[record.job_id].append(record.attempt)
    return found


def ended(records: Iterable[Record]) -> set[tuple[int, int]]:
    """(job, attempt) of every execution that got to its handler's end."""
    return {(record.job_id, record.attempt) for record in records if record.word == "ended"}


def histogram(records: Iterable[Record]) -> Counter[int]:
    """How many jobs were begun so many times."""
    return Counter(len(attempts) for attempts in began(records).values())


def overlaps(records: Iterable[Record]) -> int:
    """Executions that began while an earlier one of the same job had not come to its end but did so later."""
    open_since: dict[int, set[int]] = defaultdict(set)
    lasting: set[tuple[int, int]] = set()
    records = list(records)
    ends = ended(records)
    for record in records:
        running = open_since[record.job_id]
        if record.word == "began":
            lasting |= {(record.job_id, attempt) for attempt in running if (record.job_id, attempt) in ends}
            running.add(record.attempt)
        else:
            running.discard(record.attempt)
    return len(lasting)


def longest_pause(records: Iterable[Record], since: Iterable[float]) -> tuple[float, float | None]:
    """The longest time from one of these instants to the next beginning of a job, and which instant that was."""
    begins = [record.at for record in records if record.word == "began"]
    longest: tuple[float, float | None] = (0.0, None)
    for instant in since:
        following = next((at for at in begins if at > instant), None)
        if following is not None and following - instant > longest[0]:
            longest = (following - instant, instant)
    return longest
