"""One line in the log for each job that ended."""

from __future__ import annotations

import contextlib
from collections import deque
from functools import lru_cache

from ..broker.exchange import Again, Claimed, Ended, Parent
from ..settings import LogsSettings
from .journal import MARK, column, encoded, offer

HELD_LINES = 10_000  # while nobody reads; the rest is counted and not kept

Settlement = Ended | Again | Parent


class FinishedJobs:
    """One line on standard error for each job that ended: kind, id, attempt, outcome, seconds. Never blocks.

    Of successes the share `sample_successes` is written, of those that took `slow` all, of the rest all.
    Standard output is left to the handlers.
    """

    def __init__(self, settings: LogsSettings) -> None:
        self._settings = settings
        self._credit = 0.0  # of successes that were not written: one is due at 1
        self._lost_lines = 0  # not kept, and not said yet
        self._lines: deque[bytes] = deque()

    def __len__(self) -> int:
        """How many lines wait to be written."""
        return len(self._lines)

    def add(self, job: Claimed, settlement: Settlement, seconds: float) -> None:
        """Remember the line, if it is to be written; `write` writes it."""
        if settlement.counts_as not in ("dead", "failed") and not self._is_due(seconds):
            return
        if len(self._lines) >= HELD_LINES:
            self._lost_lines += 1
            return
        outcome = encoded(describe(settlement))
        self._lines.append(_line_of(job.kind) % (job.id, job.id, job.attempt, outcome, seconds))

    def write(self) -> None:
        """Write what there is as far as the pipe takes it now; the rest waits for the next call."""
        if not self._lines:
            return
        with contextlib.suppress(OSError):  # a pipe that nobody reads any more is no reason to end
            offer(self._lines)
        if self._lost_lines and len(self._lines) < HELD_LINES:
            text = f"[workerctl] {self._lost_lines} lines of finished jobs were lost: nobody read them in time\n"
            self._lines.append(text.encode())
            self._lost_lines = 0

    def _is_due(self, seconds: float) -> bool:
        if seconds >= self._settings.slow_seconds:
            return True
        self._credit += self._settings.sample_successes
        if self._credit < 1 - 1e-9:  # ten times 0.1 is a little less than 1
            return False
        self._credit -= 1
        return True


def describe(settlement: Settlement) -> str:
    """What a settlement says of its attempt."""
    if isinstance(settlement, Ended):
        succeeded = settlement.status == "succeeded"
        return "succeeded" if succeeded else f"{settlement.status}: {_first_line(settlement.error)}"
    if isinstance(settlement, Parent):
        return f"succeeded and waits for {len(settlement.children)} children"
    again = f"again in {settlement.delay_seconds:.0f} s"
    return f"failed, {again}: {_first_line(settlement.error)}" if settlement.failed else f"back in the queue, {again}"


@lru_cache(maxsize=1024)
def _line_of(kind: str) -> bytes:
    """What is said of a finished job of this kind: its id twice, attempt, outcome and seconds are to be filled in."""
    names = (column(kind).replace(b"%", b"%%"), encoded(kind).replace(b"%", b"%%"))
    return MARK + b"job=%%d/%b job %%d %b attempt %%d %%b after %%.3f s\n" % names


def _first_line(text: str | None) -> str:
    return (text or "no reason given").partition("\n")[0][:500]
