"""What the collector knows of one pipe, and of the worker process that writes into it."""

from __future__ import annotations

import os

from . import instant
from .file import LogFile
from .halves import HalfLine
from .lines import LineCutter, stamp
from .resume import last_sequence, last_sequence_in


class Numbering:
    """Numbers one worker process's lines over both its streams."""

    __slots__ = ("_next_sequence", "serial")

    def __init__(self, serial: int) -> None:
        self.serial = serial
        self._next_sequence = 0  # 0: not known yet, an earlier collector may have counted

    @property
    def last(self) -> int:
        """The latest number given."""
        return self._next_sequence - 1

    def stamp(self, lines: bytes, path: str) -> bytes:
        if self._next_sequence == 0:
            self._next_sequence = last_sequence(path, self.serial) + 1
        stamped, count = stamp(lines, instant.now(), self._next_sequence, self.serial)
        self._next_sequence += count
        return stamped


class Stream:
    """One pipe that is read until its end."""

    __slots__ = (
        "_half", "_last_sequence", "cutter", "ended", "fd", "file", "name", "numbering",
        "refused", "refused_since", "retry_at",
    )  # fmt: skip

    def __init__(self, name: str, fd: int, file: LogFile, numbering: Numbering) -> None:
        self.name = name
        self.fd = fd
        self.file = file
        self.numbering = numbering
        self.cutter = LineCutter()
        self.refused = b""  # stamped lines that the disk did not take: nothing more is read before they are gone
        self.refused_since = self.retry_at = 0.0  # monotonic
        self.ended = False  # its end was read
        self._last_sequence = last_sequence_in(file.path, numbering.serial)
        self._half = HalfLine(file.path, numbering.serial)
        self.cutter.resume(*self._half.found(self._last_sequence))

    def stamp(self, lines: bytes) -> bytes:
        stamped = self.numbering.stamp(lines, self.file.path)
        self._last_sequence = self.numbering.last
        return stamped

    def keep_half(self, *, grown: bool) -> None:
        """After everything before it was written: note what is held, for a successor of a killed collector."""
        self._half.keep(self.cutter.held, self.cutter.cut_bytes, self._last_sequence, grown=grown)

    def keep_nothing(self) -> None:
        """Lines were lost: what is noted would be taken for the beginning of a later one."""
        self._half.keep(b"", 0, 0, grown=False)

    def close(self) -> None:
        self._half.remove()
        os.close(self.fd)
