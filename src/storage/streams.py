"""Content in any of the forms that `put` takes, as one stream."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO


def as_stream(content: bytes | BinaryIO | Path) -> AbstractContextManager[BinaryIO]:
    """The content as a stream; what is opened here is closed at the end, a caller's own stream is not."""
    if isinstance(content, bytes):
        return io.BytesIO(content)
    return content.open("rb") if isinstance(content, Path) else _borrowed(content)


@contextmanager
def _borrowed(stream: BinaryIO) -> Iterator[BinaryIO]:
    yield stream
