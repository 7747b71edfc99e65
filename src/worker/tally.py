"""What a worker has run since it last said so: counts and histograms per queue and kind. Talks to nobody."""

from __future__ import annotations

from ..broker.exchange import Again, Claimed, Ended, Parent, RunStats
from ..broker.histogram import bucket_of
from .outcome import Settlement


class Tally:
    """Adds up the attempts that ended; what cost no attempt (a snooze, a hand-back) does not count."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], RunStats] = {}

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def add(self, job: Claimed, settlement: Settlement, seconds: float) -> None:
        """One attempt that took so long."""
        stats = self._kinds.get((job.queue, job.kind))
        if stats is None:
            stats = self._kinds[job.queue, job.kind] = RunStats(job.queue, job.kind)
        match settlement:
            case Ended(status="succeeded") | Parent():
                stats.succeeded += 1
            case Again(failed=True):
                stats.failed += 1
            case Ended(status="dead"):
                stats.dead += 1
            case Ended():
                stats.cancelled += 1
            case _:
                return
        stats.add(job.waited, bucket_of(job.waited), seconds, bucket_of(seconds))

    def stats(self) -> list[RunStats]:
        """All of it."""
        return [stats for stats in self._kinds.values() if stats.runs]

    def clear(self) -> None:
        """It has been said."""
        self._kinds.clear()
