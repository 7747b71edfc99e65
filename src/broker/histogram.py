"""Pure: log-bucketed histograms of seconds, and what a percentile of one is."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

LEAST_SECONDS = 0.0001  # all that is shorter is in bucket 0
BUCKETS_PER_DOUBLING = 4  # each is 19 % wider than the one before it: what is read from it is right to about 9 %
_LAST = 160  # years
_LEAST_OF_BUCKETS = [LEAST_SECONDS * 2 ** (number / BUCKETS_PER_DOUBLING) for number in range(_LAST)]  # of 1, 2, ...
_bucket_of = partial(bisect_right, _LEAST_OF_BUCKETS)


def histogram(durations: Iterable[float]) -> dict[int, int]:
    """How many durations, in seconds, fall into each bucket: 0 is of those below 0.1 ms, and of negative ones."""
    return Counter(map(_bucket_of, durations))


def percentile(buckets: Mapping[str, int], share: float) -> float | None:
    """The duration, in seconds, that `share` (0 to 1) of what was counted is not above; None where it is empty.

    `buckets` maps a bucket's number, as JSON has keys, to how many fell into it.
    """
    total = sum(buckets.values())
    if total == 0:
        return None
    wanted = max(1, math.ceil(share * total))
    seen = 0
    for bucket in sorted(map(int, buckets)):
        seen += buckets[str(bucket)]
        if seen >= wanted:
            return _middle_seconds(bucket)
    raise AssertionError("unreachable: the counts add up to the total")


def _middle_seconds(bucket: int) -> float:
    if bucket == 0:
        return LEAST_SECONDS / 2
    return float(LEAST_SECONDS * 2 ** ((bucket - 0.5) / BUCKETS_PER_DOUBLING))
