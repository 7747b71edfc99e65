"""What the handlers wrote down outside the queue, and what that says about executions."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
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


class Execution(NamedTuple):
    """One run of a handler to its end; `outlived` where a later attempt of its job began meanwhile.

    `let_go` is when its claim ended in the rows, be it by its own settlement or because it was given back.
    """

    job_id: int
    attempt: int
    pid: int
    began: float
    ended: float
    outlived: bool
    let_go: float = float("inf")


def executions(records: Iterable[Record], let_go: Mapping[tuple[int, int], float]) -> list[Execution]:
    """All that got to their end; `let_go` is when the claim of (job, attempt) ended, on the records' clock."""
    records = list(records)
    beginnings = {(record.job_id, record.attempt): record for record in records if record.word == "began"}
    begins = defaultdict(list)
    for record in beginnings.values():
        begins[record.job_id].append(record)
    found = []
    for end in records:
        if end.word == "ended" and (begin := beginnings.get((end.job_id, end.attempt))):
            outlived = any(other.attempt > end.attempt and other.at < end.at for other in begins[end.job_id])
            gone_at = let_go.get((end.job_id, end.attempt), float("inf"))
            found.append(Execution(end.job_id, end.attempt, end.pid, begin.at, end.at, outlived, gone_at))
    return found


def most_at_once(runs: Iterable[Execution]) -> int:
    """How many of these truly ran at the same instant, frozen ones included."""
    runs = list(runs)
    edges = sorted([(run.began, 1) for run in runs] + [(run.ended, -1) for run in runs])
    return max(itertools.accumulate((step for _, step in edges), initial=0))


def longest_pause(records: Iterable[Record], since: Iterable[float]) -> tuple[float, float | None]:
    """The longest time from one of these instants to the next beginning of a job, and which instant that was."""
    begins = [record.at for record in records if record.word == "began"]
    longest: tuple[float, float | None] = (0.0, None)
    for instant in since:
        following = next((at for at in begins if at > instant), None)
        if following is not None and following - instant > longest[0]:
            longest = (following - instant, instant)
    return longest
