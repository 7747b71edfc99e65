"""Objects as files below one folder: tmp file, fsync, rename, fsync of the folder. Only it writes there."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from ..contract import Unreachable
from .interface import (
    DEFAULT_CONTENT_TYPE,
    RESERVED_PART,
    Entry,
    InvalidKey,
    Stored,
    checked_key,
    missing,
    too_large,
)
from .streams import as_stream

COPY_BYTES = 1024 * 1024


class LocalStorage:
    """Files of mode 0600 in folders of mode 0700. The content type is not kept: the key's ending tells it."""

    def __init__(self, root: Path, *, public_url: str | None = None) -> None:
        self._root = root
        self._public_url = public_url

    def put(
        self, key: str, content: bytes | BinaryIO | Path | Iterator[bytes], *, content_type: str = DEFAULT_CONTENT_TYPE
    ) -> Stored:
        target = self._path(key)
        with as_stream(content) as stream, _said(key, self._root):
            _make_folders(self._root / RESERVED_PART)
            temporary = self._root / RESERVED_PART / secrets.token_hex(16)
            try:
                size_bytes, sha256 = _write(temporary, stream)
                _make_folders(target.parent)
                temporary.rename(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(target.parent)
        return Stored(key, size_bytes, sha256, content_type)

    def get(self, key: str, *, limit_bytes: int | None = None) -> bytes:
        with self.open(key) as stream:
            size_bytes = os.fstat(stream.fileno()).st_size
            if limit_bytes is not None and size_bytes > limit_bytes:
                raise too_large(key, size_bytes, limit_bytes)
            return stream.read()

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        return self._open(self._path(key), key)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _said(key, self._root), suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
            _sync_folder(path.parent)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        folder = prefix.rpartition("/")[0]
        if folder:
            checked_key(folder)
        if (self._root / folder).is_dir():
            for entry in _walk(self._root / folder, f"{folder}/" if folder else ""):
                if entry.key.startswith(prefix):
                    yield entry

    def url(self, key: str, *, expires_seconds: float = 3600) -> str:  # noqa: ARG002 - a file's address never expires
        path = self._path(key)
        return f"{self._public_url.rstrip('/')}/{quote(key)}" if self._public_url else path.absolute().as_uri()

    @contextmanager
    def _open(self, path: Path, key: str) -> Iterator[BinaryIO]:
        with _said(key, self._root):
            try:
                stream = path.open("rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise missing(key) from None
        with stream:
            yield stream

    def _path(self, key: str) -> Path:
        return self._root / checked_key(key)


@contextmanager
def _said(key: str, root: Path) -> Iterator[None]:
    """Say in our words what the file system refuses: it treats a/b as a file in a folder, S3 does not."""
    try:
        yield
    except (NotADirectoryError, FileExistsError, IsADirectoryError):
        raise InvalidKey(f"storage key {key!r} is a folder of other keys, or lies below another object") from None
    except PermissionError as error:
        raise Unreachable(f"storage {root} refuses: {error}; check its owner and mode") from error
    except OSError as error:
        raise Unreachable(f"storage {root} failed at {key!r}: {error}") from error


def _write(path: Path, stream: BinaryIO) -> tuple[int, str]:
    digest = hashlib.sha256()
    size_bytes = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        while block := stream.read(COPY_BYTES):
            file.write(block)
            digest.update(block)
            size_bytes += len(block)
        file.flush()
        os.fsync(file.fileno())
    return size_bytes, digest.hexdigest()


def _make_folders(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: Path, prefix: str) -> Iterator[Entry]:
    """Depth first, folders sorted as if their names ended in a slash: that is the order of the keys."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name + "/" * entry.is_dir()))
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if prefix or entry.name != RESERVED_PART:
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
        elif entry.is_file():
            with suppress(FileNotFoundError):
                known = entry.stat()
                modified_at = dt.datetime.fromtimestamp(known.st_mtime, dt.UTC)
                yield Entry(prefix + entry.name, known.st_size, modified_at)
