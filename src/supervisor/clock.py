"""The instant of one judgement, which remembers when the next one is due."""

from __future__ import annotations


class Clock:
    """`now` is monotonic seconds. Every instant that was asked about and lies ahead moves `next_at` closer."""

    __slots__ = ("next_at", "now")

    def __init__(self, now: float) -> None:
        self.now = now
        self.next_at = float("inf")

    def reached(self, instant: float) -> bool:
        if instant <= self.now:
            return True
        self.next_at = min(self.next_at, instant)
        return False
