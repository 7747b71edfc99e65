"""The pools' wake pipes, as the agent holds them."""

from __future__ import annotations

import os

from ..contract import ring_wake_pipe


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
        """Wake one worker of each of these pools; None is every pool."""
        for pool, descriptor in self._pipes.items():
            if pools is None or pool in pools:
                ring_wake_pipe(descriptor)
