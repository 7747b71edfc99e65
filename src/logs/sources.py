"""Finds log files: which slot and stream each belongs to, rotated ones included."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from .opened import PACKED, text_bytes

SUPERVISOR = "supervisor"
_ROTATED = re.compile(r"\.(\d+)(\.gz)?$")
_WORKER_FILE = re.compile(r"(?P<group>.+)-(?P<slot>\d+)\.(?P<stream>out|err)\.log")


class Place(NamedTuple):
    """What a user selects: a group, or one slot of it."""

    group: str
    slot: int | None = None


class Source(NamedTuple):
    """One stream's file; rotation adds `.1` (newest), `.2` and so on to its name, compression `.gz`."""

    path: Path
    group: str
    slot: int  # 0 for the supervisor
    stream: str

    def chain(self) -> list[Path]:
        """The files there are, newest first; one that has just been compressed is there once."""
        rotated: dict[int, Path] = {}
        for path in _files(self.path.parent):
            match = _ROTATED.search(path.name)
            if match is None or path.name[: match.start()] != self.path.name:
                continue
            number = int(match[1])
            if number not in rotated or rotated[number].name.endswith(PACKED):
                rotated[number] = path
        present = [self.path] if self.path.exists() else []
        return present + [path for _, path in sorted(rotated.items())]

    def size_bytes(self) -> int:
        """Of the text in all the files there are now."""
        total = 0
        for path in self.chain():
            with contextlib.suppress(OSError):
                total += text_bytes(path)
        return total


def parse_place(text: str) -> Place:
    """`NAME` or `NAME/SLOT`. Raises ValueError where the slot is no number."""
    group, slash, slot = text.partition("/")
    return Place(group, int(slot) if slash else None)


def find_sources(
    directory: Path, selection: Collection[Place] | None = None, streams: Collection[str] = ("out", "err")
) -> list[Source]:
    """The sources there are now, in order; None selects everything, the supervisor included.

    The supervisor's own log counts as stderr. A folder that is not there yet has none.
    """
    names = {_ROTATED.sub("", path.name) for path in _files(directory)}
    found = (_source(directory / name) for name in names)
    return sorted(
        source
        for source in found
        if source is not None
        and source.stream in streams
        and (selection is None or Place(source.group) in selection or Place(source.group, source.slot) in selection)
    )


def _source(path: Path) -> Source | None:
    if path.name == f"{SUPERVISOR}.log":
        return Source(path, SUPERVISOR, 0, "err")
    match = _WORKER_FILE.fullmatch(path.name)
    return Source(path, match["group"], int(match["slot"]), match["stream"]) if match else None


def _files(directory: Path) -> Iterator[Path]:
    try:
        yield from directory.iterdir()
    except (FileNotFoundError, NotADirectoryError):
        return
