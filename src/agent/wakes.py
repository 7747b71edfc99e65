"""The only module that writes into the pools' wake pipes."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import termios

PENDING_LIMIT_BYTES = 16  # more unread wake-ups than that say nothing new


class WakePipes:
    """One pipe per pool, shared by its workers; only those with free seats read it."""

    def __init__(self) -> None:
        self._pipes: dict[str, int] = {}

    def take(self, pool: str, descriptor: int) -> None:
        """Keep the write end of a pool's pipe, instead of an earlier one."""
        old = self._pipes.get(pool)
        if old is not None:
            os.close(old)
        os.set_blocking(descriptor, False)
        self._pipes[pool] = descriptor

    def wake(self, pools: set[str] | None = None) -> None:
        """Wake one worker of each of these pools; None is every pool. Busy pools are not flooded."""
        for pool, descriptor in self._pipes.items():
            if (pools is None or pool in pools) and _unread_bytes(descriptor) < PENDING_LIMIT_BYTES:
                with contextlib.suppress(BlockingIOError, BrokenPipeError):
                    os.write(descriptor, b"!")


def _unread_bytes(descriptor: int) -> int:
    count = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, count)
    except OSError:
        return 0  # a system that cannot tell: the pipe's own size is the limit then
    return count[0]
