"""Reads one source's files across rotation: a place in a file that finds the next newer and older file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from .opened import BLOCK_BYTES, Opened
from .sources import Source

_ATTEMPTS = 20  # at finding a neighbour while files are being renamed


class Cursor:
    """A place in one of a source's files. Rotation does not move it: it follows the file, not the name."""

    def __init__(self, source: Source, file: Opened, position: int) -> None:
        self.source = source
        self._file = file
        self._position = position

    @classmethod
    def at_end(cls, source: Source) -> Cursor | None:
        """After the last whole line there is; None where the files are gone."""
        file = _open_neighbour(source, None, newer=False)
        if file is None:
            return None
        cursor = cls(source, file, file.size_bytes)
        for line in cursor._backwards_in_file(unfinished=True):
            cursor._position -= len(line)
            break
        return cursor

    @classmethod
    def at_beginning(cls, source: Source, since: float | None = None) -> Cursor | None:
        """Before the first line; of files last written before `since` (seconds of the epoch) nothing is read."""
        file = _open_neighbour(source, None, newer=True)
        while file is not None and since is not None and file.status.st_mtime < since:
            following = _open_neighbour(source, file, newer=True)
            file.close()
            file = following
        return None if file is None else cls(source, file, 0)

    def __enter__(self) -> Cursor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def new_lines(self, most_bytes: int | None = None) -> Iterator[bytes]:
        """Every whole line after this place, through newer files to the newest; the place moves along.

        Ends after `most_bytes`, so that a reader slower than its writer ends at all.
        """
        seen_bytes = 0
        for line in self._through_newer_files():
            yield line
            seen_bytes += len(line) + 1
            if most_bytes is not None and seen_bytes >= most_bytes:
                return

    def lines_backwards(self) -> Iterator[bytes]:
        """Every line before this place, the last one first, through older files to the oldest."""
        yield from self._backwards_in_file()
        own, beside = self._file, self._file
        try:
            while (file := _open_neighbour(self.source, beside, newer=False)) is not None:
                if beside is not own:
                    beside.close()
                beside = file
                yield from Cursor(self.source, file, file.size_bytes)._backwards_in_file()
        finally:
            if beside is not own:
                beside.close()

    def _through_newer_files(self) -> Iterator[bytes]:
        while True:
            yield from self._new_in_file()
            newest = _status(self.source.path)
            if newest is not None and newest.st_ino == self._file.status.st_ino:
                return
            following = _open_neighbour(self.source, self._file, newer=True)
            if following is None:
                return
            try:
                yield from self._new_in_file()  # it has been renamed by now, so nothing more is written to it
            except BaseException:
                following.close()
                raise
            self._file.close()
            self._file, self._position = following, 0

    def _new_in_file(self) -> Iterator[bytes]:
        if self._file.was_emptied(self._position):
            self._position = 0
        unfinished = b""
        for block in self._file.blocks_from(self._position):
            *lines, unfinished = (unfinished + block).split(b"\n")
            for line in lines:
                self._position += len(line) + 1
                yield line

    def _backwards_in_file(self, *, unfinished: bool = False) -> Iterator[bytes]:
        """Whole lines before the place; with `unfinished` first what stands after the last newline."""
        position, head, whole = self._position, b"", unfinished
        while position > 0:
            start = max(0, position - BLOCK_BYTES)
            head, *lines = (self._file.read_at(start, position - start) + head).split(b"\n")
            position = start
            for line in reversed(lines):
                if whole:
                    yield line
                whole = True
        if whole and self._position:
            yield head


def _open_neighbour(source: Source, beside: Opened | None, *, newer: bool) -> Opened | None:
    """Open the next newer or older file; beside None it is the newest, with `newer` the oldest."""
    for _ in range(_ATTEMPTS):
        present = [(path, status) for path in source.chain() if (status := _status(path)) is not None]
        if len({status.st_ino for _, status in present}) < len(present):
            continue  # a file was renamed while we looked
        index = _index_beside(present, beside, newer=newer)
        if not 0 <= index < len(present):
            return None
        path, wanted = present[index]
        try:
            file = Opened(path)
        except FileNotFoundError:
            continue
        if file.status.st_ino == wanted.st_ino:
            return file
        file.close()
    return None


def _index_beside(present: list[tuple[Path, os.stat_result]], beside: Opened | None, *, newer: bool) -> int:
    if beside is None:
        return len(present) - 1 if newer else 0
    step, own = -1 if newer else 1, beside.status
    for index, (_, status) in enumerate(present):
        if status.st_ino == own.st_ino:
            return index + step
    for index, (path, status) in enumerate(present):
        if status.st_mtime_ns == own.st_mtime_ns and _begins_as(path, beside):
            return index + step  # it has been compressed meanwhile, which keeps its time
    # deleted, or rotated away: what was written to later is newer
    count_newer = sum(status.st_mtime_ns > own.st_mtime_ns for _, status in present)
    return count_newer - 1 if newer else count_newer


def _begins_as(path: Path, other: Opened) -> bool:
    try:
        file = Opened(path)
    except OSError:
        return False
    try:
        return file.head == other.head
    finally:
        file.close()


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
