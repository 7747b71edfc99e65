"""What a template does to its memory, so that its forks need less: a page belongs to all of them until one writes."""

from __future__ import annotations

import gc
import sys

POOL_BYTES = 16384  # CPython's allocator serves objects of one size from a pool
POOL_HEADER_BYTES = 48
SMALL_BYTES = range(48, 513, 16)  # the sizes that it serves so, but for the two smallest
MOST_HOLES = 2000  # of one size; there are some hundred

_fillers: list[bytes] = []


def settle() -> None:
    """Before the first fork: nothing is garbage, the collector never looks at what is here, and no pool has a hole.

    What a fork makes would go into the holes, one here and one there, and each would cost it a page: 0.26 MB a worker.
    """
    gc.collect()
    gc.freeze()
    for size_bytes in SMALL_BYTES:
        _fillers.extend(_fill_holes(size_bytes))


def _fill_holes(size_bytes: int) -> list[bytes]:
    """As many objects of this size as there are holes for; some for nothing where another allocator is in use."""
    fillers: list[bytes] = []
    while len(fillers) < MOST_HOLES:
        filler = bytes(size_bytes - sys.getsizeof(b""))
        if id(filler) % POOL_BYTES == POOL_HEADER_BYTES:  # the first of a new pool
            break
        fillers.append(filler)
    return fillers
