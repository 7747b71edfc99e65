"""The only module that writes log files; a full or broken disk never raises here."""

# pathlib would cost the collector a megabyte:
# ruff: noqa: PTH103, PTH120
from __future__ import annotations

import contextlib
import os

from . import instant
from .shelf import Shelf


class LogFile:
    """One worker slot's stdout or stderr on disk, rotated by size and age, 0600.

    Made again where somebody deleted it. The age is that of its first line; `max_age_seconds` 0 is no limit.
    """

    def __init__(self, path: str, shelf: Shelf, max_size_bytes: int, max_age_seconds: float = 0.0) -> None:
        self.path = path
        self.dropped_lines = 0  # counted by the collector until it could say so
        self.saying = 0  # of them, in a notice that is being written
        self.reason = ""  # why the last write failed
        self._shelf = shelf
        self._max_size_bytes = max_size_bytes
        self._max_age_seconds = max_age_seconds
        self._fd = -1
        self._size_bytes = 0
        self._began = b""  # when its first line was written, as lines say it

    def write(self, lines: bytes) -> bytes:
        """Write whole lines, rotating between them; what comes back could not be written, for `reason`."""
        rest = lines
        try:
            self._ensure_open()
            if self._size_bytes and self._is_old():
                self._rotate()
            while rest:
                cut = self._fitting(rest)
                if cut == 0 and self._rotate():
                    continue
                written = self._append(rest[:cut] if 0 < cut < len(rest) else rest)
                rest = rest[written:]
        except OSError as error:
            self.reason = error.strerror or str(error)
        return rest

    def close(self) -> None:
        """Close; the next write opens the file again under its name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _ensure_open(self) -> None:
        if self._fd >= 0 and os.fstat(self._fd).st_nlink == 0:
            self.close()  # somebody deleted it
        if self._fd >= 0:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
            self._fd = os.open(self.path, flags, 0o600)
        self._size_bytes = os.fstat(self._fd).st_size
        if self._size_bytes:
            self._began = instant.beginning(os.pread(self._fd, instant.LENGTH, 0)) or instant.now()
        if self._size_bytes and os.pread(self._fd, 1, self._size_bytes - 1) != b"\n":
            self._end_half_a_line()

    def _end_half_a_line(self) -> None:
        try:
            self._append(b"\n")  # an earlier collector was killed in the middle of a write
        except OSError:
            self.close()
            raise

    def _is_old(self) -> bool:
        return self._max_age_seconds > 0 and self._began < instant.now(self._max_age_seconds)

    def _fitting(self, lines: bytes) -> int:
        """Bytes of whole lines that still fit; 0: rotate first. A line longer than a file gets one alone."""
        room = self._max_size_bytes - self._size_bytes
        if len(lines) <= room:
            return len(lines)
        fitting = lines.rfind(b"\n", 0, max(room, 0)) + 1
        return fitting if fitting or self._size_bytes else lines.index(b"\n") + 1

    def _append(self, lines: bytes) -> int:
        before, written = self._size_bytes, 0
        if before == 0:
            self._began = instant.beginning(lines) or instant.now()
        try:
            while written < len(lines):
                written += os.write(self._fd, lines[written:] if written else lines)
        except OSError:
            whole = lines.rfind(b"\n", 0, written) + 1
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, before + whole)  # half a line would be glued to the next one
            self._size_bytes = before + whole
            if whole == 0:
                raise
            return whole
        self._size_bytes = before + written
        return written

    def _rotate(self) -> bool:
        """False where the disk refuses: then the present file grows on."""
        if not self._shelf.rotate(self.path):
            return False
        self.close()
        self._ensure_open()
        return True
