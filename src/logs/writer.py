"""Writes log files on a thread of its own: a disk that hangs holds up this thread and not the one that reads."""

from __future__ import annotations

import _thread
import os
import sys

from .file import LogFile

_STACK_BYTES = 256 * 1024


class Writer:
    """Writes one batch at a time. Its methods belong to one thread, the collector's."""

    def __init__(self) -> None:
        self._given, self._done = _thread.allocate_lock(), _thread.allocate_lock()
        self._given.acquire()
        self._done.acquire()
        self._file: LogFile | None = None  # that is being written to
        self._lines = self._rest = b""
        _thread.stack_size(_STACK_BYTES)
        _thread.start_new_thread(self._serve, ())

    @property
    def hangs(self) -> bool:
        """Whether a batch has outlived its patience; until it is settled no file may be touched."""
        return self._file is not None

    def write(self, file: LogFile, lines: bytes, patience_seconds: float) -> bytes | None:
        """What the disk refused of these whole lines; None where it has not answered yet: `settle` asks again."""
        assert self._file is None, "one batch at a time"
        self._file, self._lines = file, lines
        self._given.release()
        settled = self.settle(patience_seconds)
        return None if settled is None else settled[1]

    def settle(self, patience_seconds: float = 0.0) -> tuple[LogFile, bytes] | None:
        """The batch that hung, with what the disk refused of it; None while it still hangs."""
        assert self._file is not None, "nothing hangs"
        if not self._done.acquire(timeout=patience_seconds):
            return None
        file, self._file = self._file, None
        return file, self._rest

    def _serve(self) -> None:
        try:
            while True:
                self._given.acquire()
                assert self._file is not None
                self._rest = self._file.write(self._lines)
                self._done.release()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)  # without this thread nothing is written; the supervisor starts another collector
