"""One log file opened for reading, compressed or not."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

BLOCK_BYTES = 64 * 1024
HEAD_BYTES = 80  # time, sequence and serial of a first line: no two files of a source begin alike
PACKED = ".gz"
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)


class Opened:
    """Follows the file, not its name. Of a damaged compressed file what can be read is read."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._raw = path.open("rb")
        self._is_packed = path.name.endswith(PACKED)
        self._text: BinaryIO = cast(BinaryIO, gzip.GzipFile(fileobj=self._raw)) if self._is_packed else self._raw
        self._unpacked: BinaryIO | None = None

    def close(self) -> None:
        for file in (self._unpacked, self._text, self._raw):
            if file is not None:
                file.close()

    @property
    def status(self) -> os.stat_result:
        return os.fstat(self._raw.fileno())

    @property
    def size_bytes(self) -> int:
        """Of the text; a compressed file is unpacked for it."""
        return os.fstat(self._seekable().fileno()).st_size

    @property
    def head(self) -> bytes:
        """What the text begins with. Reading from a place goes on at that place afterwards."""
        self._text.seek(0)
        return next(self._blocks(HEAD_BYTES), b"")

    def was_emptied(self, position: int) -> bool:
        """Whether somebody cut the file off before this place."""
        return not self._is_packed and self.status.st_size < position

    def blocks_from(self, position: int) -> Iterator[bytes]:
        """The text from this place to what is the end now."""
        with contextlib.suppress(*_DAMAGED):
            self._text.seek(position)
        return self._blocks(BLOCK_BYTES)

    def read_at(self, position: int, count: int) -> bytes:
        return os.pread(self._seekable().fileno(), count, position)

    def _blocks(self, count: int) -> Iterator[bytes]:
        with contextlib.suppress(*_DAMAGED):
            while block := self._text.read(count):
                yield block

    def _seekable(self) -> BinaryIO:
        if not self._is_packed:
            return self._raw
        if self._unpacked is None:
            self._unpacked = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - `close` closes it
            self._raw.seek(0)
            with contextlib.suppress(*_DAMAGED), gzip.GzipFile(fileobj=self._raw) as text:
                shutil.copyfileobj(text, self._unpacked, BLOCK_BYTES)
            self._unpacked.flush()
            self._text = self._unpacked
        return self._unpacked


def text_bytes(path: Path) -> int:
    """Size of a file's text; of a compressed one as gzip notes it, which is right below 4 GiB. Raises OSError."""
    if not path.name.endswith(PACKED):
        return path.stat().st_size
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")
