"""How far a cancel or retry of a large batch is, where somebody looks."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from .common import say


class SoFar:
    """Called with a number of jobs after each transaction of many; `did` says what was done to them."""

    def __init__(self, did: str) -> None:
        self._did = did
        self._told: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __call__(self, count: int) -> None:
        self._told.append(count)
        if len(self._told) > 1 and sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{count} jobs {self._did} so far")
            sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if len(self._told) > 1 and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        if kind is not None and self._told and self._told[-1] > 0:
            say(f"note: {self._told[-1]} jobs {self._did}; the agent of a node that runs goes on with the rest")
