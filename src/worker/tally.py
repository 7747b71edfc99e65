"""What a worker has run since it last said so: counts and histograms per queue and kind. Talks to nobody."""

from __future__ import annotations

from collections import Counter

from ..broker.exchange import Claimed, CountsAs, RunStats
from ..broker.histogram import histogram
from .outcome import Settlement


class Tally:
    """Adds up the attempts that ended; what cost no attempt (a snooze, a hand-back) does not count."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Attempts] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def add(self, job: Claimed, settlement: Settlement, seconds: float) -> None:
        """One attempt that took so long. It is noted and added up with others later, which costs a third."""
        counts_as = settlement.counts_as
        if counts_as is None:
            return
        attempts = self._kinds.get((job.queue, job.kind))
        if attempts is None:
            attempts = self._kinds[job.queue, job.kind] = _Attempts()
        attempts.counts_as.append(counts_as)
        attempts.waits.append(job.waited)
        attempts.runs.append(seconds)

    def stats(self) -> list[RunStats]:
        """All of it."""
        return [attempts.stats(queue, kind) for (queue, kind), attempts in self._kinds.items()]

    def clear(self) -> None:
        """It has been said."""
        self._kinds.clear()


class _Attempts:
    """Of one kind in one queue, one number each: a worker says them every second, so that they are few."""

    def __init__(self) -> None:
        self.counts_as: list[CountsAs] = []
        self.waits: list[float] = []
        self.runs: list[float] = []

    def stats(self, queue: str, kind: str) -> RunStats:
        counts: Counter[str] = Counter(self.counts_as)
        return RunStats(
            queue, kind, **counts, wait_seconds=sum(self.waits), run_seconds=sum(self.runs),
            waits=histogram(self.waits), runs=histogram(self.runs),
        )  # fmt: skip
