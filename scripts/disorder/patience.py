"""How long to wait for a slow machine: as long as something moves, within a bound."""

from __future__ import annotations

import time
from collections.abc import Callable

STILL_SECONDS = 60.0  # where nothing moved for so long, nothing will
MOST_SECONDS = 900.0
ENDED = "SELECT count(*) FROM workerctl.history WHERE kind <> 'tick'"  # ticks go on for ever


class Patience:
    """Lasts while more jobs are enqueued or have ended than before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._moved = clock()
        self._most = (0, 0)

    def lasts(self, enqueued: int, ended: int) -> bool:
        """Whether to go on waiting."""
        now = self._clock()
        most = max(enqueued, self._most[0]), max(ended, self._most[1])
        if most != self._most:
            self._most, self._moved = most, now
        return now < self._moved + STILL_SECONDS and now < self._began + MOST_SECONDS

    @property
    def told(self) -> str:
        """What has run out."""
        now = self._clock()
        return f"{now - self._began:.0f} s after the last fault, {now - self._moved:.0f} s after the last end of a job"
