"""Reads the logs of one home: merged over slots and streams, the last lines first found, or followed as they grow."""

from __future__ import annotations

import contextlib
import datetime as dt
import heapq
import re
import time
from collections.abc import Callable, Collection, Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

from .cursor import Cursor
from .entry import Line, backwards, forwards, order
from .sources import Place, Source, find_sources, parse_place

__all__ = ["Line", "Place", "follow", "parse_place", "read"]

BOTH = ("out", "err")


class _Wanted(NamedTuple):
    since: dt.datetime | None
    grep: re.Pattern[str] | None
    serial: int | None
    job: int | None

    def fits(self, line: Line) -> bool:
        return (
            (self.since is None or line.at >= self.since)
            and (self.serial is None or line.serial == self.serial)
            and (self.job is None or line.job == self.job)
            and (self.grep is None or self.grep.search(line.text) is not None)
        )


def read(
    directory: Path,
    selection: Collection[Place] | None = None,
    lines: int | None = None,
    since: dt.datetime | None = None,
    grep: re.Pattern[str] | None = None,
    streams: Collection[str] = BOTH,
    *,
    serial: int | None = None,
    job: int | None = None,
) -> Iterator[Line]:
    """The lines that were written until now, merged by time, serial and sequence; with `lines` the last of them.

    Rotated files are read too, compressed ones included; what is asked for from the end is read from the end,
    however big the files. `selection` None is everything, the group "supervisor" included; `serial` is one worker
    process, `job` what one job wrote. A line that is being written is left out. `since` knows its time zone.
    """
    wanted = _Wanted(since, grep, serial, job)
    sources = find_sources(directory, selection, streams)
    with contextlib.ExitStack() as open_files:
        if lines is None:
            since_epoch = since.timestamp() if since else None
            cursors = _opened(open_files, (Cursor.at_beginning(source, since_epoch) for source in sources))
            every = (forwards(each.source, each.new_lines(each.source.size_bytes())) for each in cursors)
            yield from filter(wanted.fits, heapq.merge(*every, key=order))
        else:
            cursors = _opened(open_files, (Cursor.at_end(source) for source in sources))
            yield from _last(cursors, wanted, lines)


def follow(
    directory: Path,
    selection: Collection[Place] | None = None,
    lines: int | None = 0,
    since: dt.datetime | None = None,
    grep: re.Pattern[str] | None = None,
    streams: Collection[str] = BOTH,
    *,
    serial: int | None = None,
    job: int | None = None,
    poll_seconds: float = 0.2,
    finished: Callable[[], bool] = lambda: False,
) -> Iterator[Line]:
    """The last `lines` (None: all since `since`), then every line as it is written, none twice and none left out.

    Survives rotation and deletion and waits for files that are not there yet. Ends after `finished()` is true
    and what was written until then has been read; else never. Lines are in order within one poll.
    """
    wanted = _Wanted(since, grep, serial, job)
    tails: dict[Source, _Tail] = {}
    began = dt.datetime.now(dt.UTC)
    try:
        for source in find_sources(directory, selection, streams):
            if cursor := Cursor.at_end(source):
                tails[source] = _Tail(cursor, began)
        yield from _last([tail.cursor for tail in tails.values()], wanted, lines)
        while True:
            last_round = finished()
            for source in find_sources(directory, selection, streams):
                if source not in tails and (cursor := Cursor.at_beginning(source)):
                    tails[source] = _Tail(cursor, began)
            new = [line for tail in tails.values() for line in tail.new_lines()]
            yield from filter(wanted.fits, sorted(new, key=order))
            if last_round:
                return
            time.sleep(poll_seconds)
    finally:
        for tail in tails.values():
            tail.cursor.close()


class _Tail:
    """One source that is followed."""

    def __init__(self, cursor: Cursor, at: dt.datetime) -> None:
        self.cursor = cursor
        self._at = at  # of its latest line

    def new_lines(self) -> list[Line]:
        new = list(forwards(self.cursor.source, self.cursor.new_lines(), self._at))
        self._at = new[-1].at if new else self._at
        return new


def _opened(open_files: contextlib.ExitStack, cursors: Iterator[Cursor | None]) -> list[Cursor]:
    return [open_files.enter_context(cursor) for cursor in cursors if cursor is not None]


def _last(cursors: list[Cursor], wanted: _Wanted, count: int | None) -> list[Line]:
    """The last wanted lines before the cursors, in order; None: all, which `since` must bound."""
    if count == 0:
        return []
    from_the_end = (
        takewhile(
            lambda line: wanted.since is None or line.at >= wanted.since,
            backwards(each.source, each.lines_backwards()),
        )
        for each in cursors
    )
    found = islice(filter(wanted.fits, heapq.merge(*from_the_end, key=order, reverse=True)), count)
    return list(found)[::-1]
