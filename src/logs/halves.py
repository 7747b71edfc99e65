"""Keeps the beginning of a line whose end has not come, so that a killed collector's successor completes it."""

# pathlib would cost the collector a megabyte:
# ruff: noqa: PTH103, PTH108, PTH120
from __future__ import annotations

import contextlib
import os

ENDING = ".half"
_HEAD = b"%020d %010d %010d\n"  # last sequence in the stream's file, bytes held, bytes cut
_HEAD_BYTES = len(_HEAD % (0, 0, 0))


class HalfLine:
    """One stream's held half line beside its log file, 0600; only a hint: no error of the disk is raised.

    It counts while the last line of that worker in the stream's file has the sequence number that is noted here:
    what is written later makes it stale, so that a complete line costs no further write.
    """

    __slots__ = ("_fd", "_length", "_path")

    def __init__(self, log_path: str, serial: int) -> None:
        self._path = f"{log_path.removesuffix('.log')}.{serial}{ENDING}"
        self._fd = -1
        self._length = 0  # of what is kept now

    def keep(self, held: bytes, cut_bytes: int, last_sequence: int, *, grown: bool) -> None:
        """Replace what is kept; with `grown` it is the same half line, longer than before."""
        if not held and not self._length:
            return
        head = _HEAD % (last_sequence, len(held), cut_bytes)
        try:
            self._ensure_open()
            if grown and self._length:
                os.pwrite(self._fd, held[self._length :], _HEAD_BYTES + self._length)
                os.pwrite(self._fd, head, 0)
            else:
                os.pwrite(self._fd, head + held, 0)
        except OSError:
            return
        self._length = len(held)

    def found(self, last_sequence: int) -> tuple[bytes, int]:
        """(held, bytes cut) that an earlier collector left for this stream; empty where nothing valid is."""
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            sequence, length, cut_bytes = map(int, os.pread(self._fd, _HEAD_BYTES, 0).split())
            held = os.pread(self._fd, length, _HEAD_BYTES)
        except (OSError, ValueError):
            return b"", 0
        return (held, cut_bytes) if (sequence, len(held)) == (last_sequence, length) else (b"", 0)

    def remove(self) -> None:
        """The stream has ended."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        os.close(self._fd)
        self._fd = -1

    def _ensure_open(self) -> None:
        if self._fd >= 0:
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
            self._fd = os.open(self._path, flags, 0o600)
