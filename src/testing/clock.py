"""A clock that stands still until a test moves it."""

from __future__ import annotations


class Clock:
    """Seconds, from 0. Calling it tells the time."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let this much time pass. Raises ValueError for less than none."""
        if seconds < 0:
            raise ValueError(f"advance({seconds}): time does not go back")
        self._now += seconds
