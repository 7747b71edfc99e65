"""Pure: log-bucketed histograms of seconds, and what a percentile of one is."""

from __future__ import annotations

import math
from collections.abc import Mapping

LEAST_SECONDS = 0.0001  # all that is shorter is in bucket 0
BUCKETS_PER_DOUBLING = 4  # each is 19 % wider than the one before it: what is read from it is right to about 9 %
_LAST = 160  # years


def bucket_of(seconds: float) -> int:
    """The bucket that a duration falls into; 0 for less than 0.1 ms, and for a negative one."""
    if seconds < LEAST_SECONDS:
        return 0
    return min(_LAST, 1 + int(BUCKETS_PER_DOUBLING * math.log2(seconds / LEAST_SECONDS)))


def percentile(histogram: Mapping[str, int], share: float) -> float | None:
    """The duration, in seconds, that `share` (0 to 1) of the histogram is not above; None where it is empty.

    `histogram` maps a bucket's number, as JSON has keys, to how many fell into it.
    """
    total = sum(histogram.values())
    if total == 0:
        return None
    wanted = max(1, math.ceil(share * total))
    seen = 0
    for bucket in sorted(map(int, histogram)):
        seen += histogram[str(bucket)]
        if seen >= wanted:
            return _middle_seconds(bucket)
    raise AssertionError("unreachable: the counts add up to the total")


def _middle_seconds(bucket: int) -> float:
    if bucket == 0:
        return LEAST_SECONDS / 2
    return float(LEAST_SECONDS * 2 ** ((bucket - 0.5) / BUCKETS_PER_DOUBLING))
