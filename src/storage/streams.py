"""Content in any of the forms that `put` takes, as one stream."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, cast


def as_stream(content: bytes | BinaryIO | Path | Iterator[bytes]) -> AbstractContextManager[BinaryIO]:
    """The content as a stream; what is opened here is closed at the end, a caller's own stream is not."""
    if isinstance(content, bytes):
        return io.BytesIO(content)
    if isinstance(content, Path):
        return content.open("rb")
    return _borrowed(cast("BinaryIO", content if hasattr(content, "read") else _Blocks(content)))


class _Blocks(io.RawIOBase):
    """What an iterator of blocks gives, as a stream; it holds one block at a time."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = iter(blocks)
        self._block = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; b"" at the end. Fewer than asked for are no end."""
        while not self._block:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._block = memoryview(block)
        size = len(self._block) if size < 0 else size
        taken, self._block = bytes(self._block[:size]), self._block[size:]
        return taken


@contextmanager
def _borrowed(stream: BinaryIO) -> Iterator[BinaryIO]:
    yield stream
