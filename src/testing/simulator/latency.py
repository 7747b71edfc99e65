"""Pure: how long a provider takes."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds a piece of work takes: between `low` and `high`, evenly; or log-normal around `low` with `sigma`."""

    low_seconds: float
    high_seconds: float
    sigma: float = 0.0

    @classmethod
    def parse(cls, text: str | float) -> Latency:
        """`2` (always), `1..3` (evenly between) or `2~0.5` (log-normal: median 2, sigma 0.5). Raises ValueError."""
        words = str(text)
        if ".." in words:
            low, _, high = words.partition("..")
            found = cls(float(low), float(high))
        else:
            median, _, sigma = words.partition("~")
            found = cls(float(median), float(median), float(sigma or 0))
        if not 0 <= found.low_seconds <= found.high_seconds < math.inf or not 0 <= found.sigma < math.inf:
            raise ValueError(f"latency {text!r}: expected seconds such as 2, 1..3 or 2~0.5")
        return found

    def draw(self, chance: random.Random) -> float:
        """Seconds of one piece of work."""
        if self.sigma:
            return self.low_seconds * math.exp(chance.gauss(0, self.sigma))
        return chance.uniform(self.low_seconds, self.high_seconds)
