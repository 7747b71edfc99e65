"""What every storage promises: keys, entries, errors, and the protocol that local files and S3 fulfil."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from ..contract import WorkerctlError

KEY_LIMIT_BYTES = 512
KEY_PART_LIMIT_BYTES = 255  # what file systems take as one name
RESERVED_PART = ".tmp"  # where local storage keeps what is not whole yet
DEFAULT_CONTENT_TYPE = "application/octet-stream"


class InvalidKey(WorkerctlError):
    """The key is one that not every storage could hold."""


class ObjectMissing(WorkerctlError):
    """There is no object with this key."""


class ObjectTooLarge(WorkerctlError):
    """The object has more bytes than the caller allows."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as it was written."""

    key: str
    size_bytes: int
    sha256: str  # of the content, in hexadecimal
    content_type: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One object as a listing shows it."""

    key: str
    size_bytes: int
    modified_at: dt.datetime = field(compare=False)  # with its time zone; writing the same again makes no other entry


class Storage(Protocol):
    """Objects by key. Synchronous and safe to call from several threads; `async` code uses asyncio.to_thread.

    A key names a whole object or none: readers never see half of one, and a `put` that fails leaves what was
    there before. Every method raises InvalidKey for a key that `checked_key` refuses, Unreachable (69) where
    the storage does not answer and Unusable (78) where it refuses our credentials or has no such bucket.
    """

    def put(
        self, key: str, content: bytes | BinaryIO | Path | Iterator[bytes], *, content_type: str = DEFAULT_CONTENT_TYPE
    ) -> Stored:
        """Write an object, or replace it. Files, streams and iterators of blocks are never held whole in memory."""
        ...

    def get(self, key: str, *, limit_bytes: int | None = None) -> bytes:
        """Its content. Raises ObjectMissing, and ObjectTooLarge before reading past `limit_bytes`."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """The object as a stream that can be read once from start to end. Raises ObjectMissing."""
        ...

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object whose key starts with `prefix`; their order is not promised."""
        ...

    def url(self, key: str, *, expires_seconds: float = 3600) -> str:
        """An address of the object; whether it exists is not asked. A public address does not expire."""
        ...


def checked_key(key: str) -> str:
    """The key itself, where every storage can hold it. Raises InvalidKey saying what is wrong with it."""
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        raise InvalidKey(f"storage key {key!r} is not valid Unicode") from None
    if not key or len(encoded) > KEY_LIMIT_BYTES:
        raise InvalidKey(f"storage key {key[:80]!r} has {len(encoded)} bytes; 1 to {KEY_LIMIT_BYTES} are allowed")
    if any(ord(character) < 0x20 or character in "\\\x7f" for character in key):
        raise InvalidKey(f"storage key {key!r} has a control character or a backslash")
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidKey(f"storage key {key!r} must be relative, without empty, '.' or '..' parts")
    if parts[0] == RESERVED_PART:
        raise InvalidKey(f"storage key {key!r}: {RESERVED_PART}/ is reserved")
    if any(len(part.encode()) > KEY_PART_LIMIT_BYTES for part in parts):
        raise InvalidKey(f"storage key {key[:80]!r} has a part of over {KEY_PART_LIMIT_BYTES} bytes")
    return key


def missing(key: str) -> ObjectMissing:
    return ObjectMissing(f"storage has no object {key!r}")


def too_large(key: str, size_bytes: int, limit_bytes: int) -> ObjectTooLarge:
    return ObjectTooLarge(f"object {key!r} has {size_bytes:,} bytes; at most {limit_bytes:,} are allowed here")
