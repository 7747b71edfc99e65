"""The only thread that touches log files: a disk that hangs holds up this thread and not the one that reads."""

from __future__ import annotations

import _thread
from collections import deque
from collections.abc import Callable

from .file import LogFile

_STACK_BYTES = 256 * 1024


class Writer:
    """Writes one batch at a time. Its methods belong to one thread, the collector's."""

    def __init__(self) -> None:
        self._work: deque[Callable[[], None]] = deque()
        self._given, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._given.acquire()
        self._done.acquire()
        self._writing: LogFile | None = None
        self._rest = b""
        _thread.stack_size(_STACK_BYTES)
        _thread.start_new_thread(self._serve, ())

    @property
    def hangs(self) -> bool:
        """Whether a batch that has outlived its patience is still being written."""
        return self._writing is not None

    def write(self, file: LogFile, lines: bytes, patience_seconds: float) -> bytes | None:
        """What the disk refused of these whole lines; None where it has not answered yet: `settle` asks again."""
        assert self._writing is None, "one batch at a time"
        self._writing = file
        self._work.append(lambda: self._write(file, lines))
        self._given.release()
        if not self._done.acquire(timeout=patience_seconds):
            return None
        self._writing = None
        return self._rest

    def settle(self, patience_seconds: float = 0.0) -> tuple[LogFile, bytes] | None:
        """The batch that hung, with what the disk refused of it; None while it still hangs."""
        assert self._writing is not None, "nothing hangs"
        if not self._done.acquire(timeout=patience_seconds):
            return None
        file, self._writing = self._writing, None
        return file, self._rest

    def _serve(self) -> None:
        while True:
            self._given.acquire()
            self._work.popleft()()
            self._done.release()

    def _write(self, file: LogFile, lines: bytes) -> None:
        self._rest = file.write(lines)
