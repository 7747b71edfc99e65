"""The only module that renames, compresses and removes rotated files."""

# pathlib and subprocess would cost the collector a megabyte each:
# ruff: noqa: PTH104, PTH108, PTH116
from __future__ import annotations

import _thread
import contextlib
import os
import re
import sys
import time
from typing import NamedTuple

from .halves import ENDING as HALF_LINE

LOOK_SECONDS = 60.0  # between two looks at the total size where nothing is rotated meanwhile
LEFTOVER_SECONDS = 86400.0  # half lines that nobody came back for
_COMPRESSIBLE_BYTES = 2**32  # gzip counts to this
_LOG_FILE = re.compile(r"(?P<name>.+\.log)(?:\.(?P<number>\d+)(?P<packed>\.gz)?)?")
_TEMPORARY = ".packing"


class _Found(NamedTuple):
    path: str
    name: str
    number: int  # 0: being written
    packed: bool
    size_bytes: int
    mtime_ns: int
    inode: int


class Shelf:
    """The rotated files in one folder: `.1` is the newest; with `compress` they become `.1.gz` and so on.

    What takes long happens in a thread, compression in a child process of low priority: a niced thread would hold
    the interpreter's lock while it waits for a core. `max_total_bytes` 0 is no limit; over it rotated files go,
    the oldest first, never one that is being written.
    """

    def __init__(self, directory: str, keep: int, *, compress: bool = False, max_total_bytes: int = 0) -> None:
        self._directory = directory
        self._keep = keep
        self._compress = compress
        self._max_total_bytes = max_total_bytes
        self._names = _thread.allocate_lock()  # held while files are renamed or removed
        self._bell = _thread.allocate_lock()
        self._tended = compress or max_total_bytes > 0
        self._remove_leftovers()
        if self._tended:
            _thread.start_new_thread(self._serve, ())

    def rotate(self, path: str) -> bool:
        """Move a file and its rotated ones up by one; False where the disk refuses."""
        with self._names:
            try:
                _remove(f"{path}.{self._keep}")
                for number in range(self._keep - 1, 0, -1):
                    for ending in ("", ".gz"):
                        with contextlib.suppress(FileNotFoundError):
                            os.rename(f"{path}.{number}{ending}", f"{path}.{number + 1}{ending}")
                os.rename(path, f"{path}.1")
            except OSError:
                return False
        if self._tended and self._bell.locked():
            self._bell.release()
        return True

    def _serve(self) -> None:
        self._bell.acquire()
        while True:
            with contextlib.suppress(OSError):  # a folder or a disk that comes back later
                self._tend()
            self._bell.acquire(timeout=LOOK_SECONDS)

    def _tend(self) -> None:
        while True:
            files = self._files()
            self._remove_the_oldest(files)
            plain = [file for file in files if file.number and not file.packed and self._is_to_pack(file)]
            if not plain or not self._pack(min(plain, key=lambda file: file.number)):
                return

    def _is_to_pack(self, file: _Found) -> bool:
        return self._compress and 0 < file.size_bytes < _COMPRESSIBLE_BYTES and file.number <= self._keep

    def _remove_the_oldest(self, files: list[_Found]) -> None:
        total_bytes = sum(file.size_bytes for file in files)
        rotated = sorted((file for file in files if file.number), key=lambda file: (file.mtime_ns, -file.number))
        for file in rotated if self._max_total_bytes else ():
            if total_bytes <= self._max_total_bytes:
                return
            with self._names:
                if _inode(file.path) == file.inode:  # else it has been moved since: the next look finds it
                    os.unlink(file.path)
            files.remove(file)
            total_bytes -= file.size_bytes

    def _pack(self, file: _Found) -> bool:
        """Compress one file; False where that does not work now."""
        own = str(os.getpid())
        temporary = f"{self._directory}/{file.name}.{file.inode}.{own}{_TEMPORARY}"
        command = [sys.executable, "-m", "workerctl.logs.pack", file.path, str(file.inode), temporary, own]
        pid = os.posix_spawn(sys.executable, command, os.environ)
        _, status = os.waitpid(pid, 0)
        if status != 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            return _inode(file.path) != file.inode  # it was rotated before the child came: look again
        with self._names:
            for number in range(file.number, self._keep + 1):
                path = f"{self._directory}/{file.name}.{number}"
                if _inode(path) == file.inode:
                    os.rename(temporary, f"{path}.gz")
                    os.unlink(path)
                    return True
        os.unlink(temporary)  # it is gone meanwhile
        return True

    def _files(self) -> list[_Found]:
        found = []
        for entry in os.scandir(self._directory):
            match = _LOG_FILE.fullmatch(entry.name)
            if match is None:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                found.append(
                    _Found(entry.path, match["name"], int(match["number"] or 0), match["packed"] is not None,
                           status.st_size, status.st_mtime_ns, status.st_ino)
                )  # fmt: skip
        return found

    def _remove_leftovers(self) -> None:
        """Of collectors that were killed."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._directory):
                old = entry.name.endswith(HALF_LINE) and time.time() - entry.stat().st_mtime > LEFTOVER_SECONDS
                if old or entry.name.endswith(_TEMPORARY):
                    os.unlink(entry.path)


def _remove(path: str) -> None:
    for ending in ("", ".gz"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + ending)


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None
