"""How many pictures a process holds decoded at once: no more than it has cores, and no more pixels than have room."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

LARGE_BLOCK_BYTES = 1024 * 1024
ROOM_PIXELS = 9_000_000  # two of 2048x2048; one that is larger runs alone
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # mallopt's numbers
_making = threading.Lock()  # two threads that ask first at once must not get turns of their own


class Turns:
    """Takes turns among threads by the pixels that they are about to hold. Who waits longest is next."""

    def __init__(self, room: int, places: int) -> None:
        self._room = room
        self._places = places
        self._door = threading.Lock()  # one at a time waits for room, so that small ones never pass a large one
        self._changed = threading.Condition()
        self._taken = 0
        self._inside = 0

    @contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        """Wait for a turn, and hold it."""
        share = min(pixels, self._room)
        with self._door, self._changed:
            self._changed.wait_for(lambda: self._inside < self._places and self._taken + share <= self._room)
            self._taken += share
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= share
                self._inside -= 1
                self._changed.notify_all()


def turns() -> Turns:
    """Those of this process; asked for in a worker first, whose cores may be fewer than its template's."""
    with _making:
        return _turns()


@cache
def _turns() -> Turns:
    keep_no_large_blocks()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Turns(ROOM_PIXELS, cores)


def give_pages_back() -> None:
    """Let the allocator return what freed pictures leave behind, in every thread's arena (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def keep_no_large_blocks() -> None:
    """Have glibc return blocks of 1 MiB and more, and free ends of its arenas of that size, as soon as they are freed.

    For before a process takes its first large answer: by itself glibc learns from the first ones to keep both up to 32
    and 64 MiB, for each thread. Eight threads that took turns held 240 MB where 74 MB are enough.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            set_option(option, LARGE_BLOCK_BYTES)
