"""What a process that ended without a message wrote last, from the log that the collector keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .roster import Lost

TAIL_BYTES = 16 * 1024
LINES = 3
STACK_LINES = 60
DEATH_CHARACTERS = 4000
STACKS = ("Thread 0x", "Current thread 0x")  # how faulthandler begins


def last_lines(home: Path, group: str, slot: int, serial: int) -> str:
    """Its last lines on standard error as one line; empty where it wrote none."""
    return " | ".join(line.strip() for line in tail(home, group, slot, serial, LINES))


def words_of_death(home: Path, lost: Lost) -> str:
    """What the jobs that were in hand are told: how it ended, and the stacks of its threads where it dumped them."""
    head = f"{lost.cause}, {lost.how}"
    lines = tail(home, *lost.seat, STACK_LINES)
    return "\n".join((head, *lines[first_stack(lines) :]))[:DEATH_CHARACTERS]


def first_stack(lines: Sequence[str]) -> int:
    """Where the stacks begin that a process has dumped; the number of lines where it has not."""
    return next((number for number, line in enumerate(lines) if line.startswith(STACKS)), len(lines))


def tail(home: Path, group: str, slot: int, serial: int, count: int) -> list[str]:
    """Its last lines on standard error, empty ones left out.

    A line of the log is: time, sequence number, serial, perhaps the job's column, text.
    """
    try:
        with (home / "logs" / f"{group}-{slot}.err.log").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    parts = (line.split(" ", 3) for line in lines)
    texts = [part[3] for part in parts if len(part) == 4 and part[2] == str(serial)]
    said = [text.partition(" ")[2] if text.startswith("job=") else text for text in texts]
    return [text for text in said if text.strip()][-count:]
