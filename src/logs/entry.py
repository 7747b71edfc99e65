"""One log line as readers see it, parsed from what stands on disk. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple
from urllib.parse import unquote

from .sources import SUPERVISOR, Source

UNTIMED = dt.datetime.min.replace(tzinfo=dt.UTC)


_JOB = re.compile(r"job=(?:(?P<id>\d+)/(?P<kind>[^ ]+)|-) ")


class _Columns(NamedTuple):
    at: dt.datetime
    group: str
    slot: int
    stream: str
    serial: int
    seq: int
    text: str


class Line(_Columns):
    """One line; `serial` and `seq` are 0 in the supervisor's own log.

    `job` and `kind` say which job wrote it, None where that is not known; the columns alone identify a line.
    """

    job: int | None = None
    kind: str | None = None


def order(line: Line) -> tuple[dt.datetime, int, int]:
    """What lines of several files are merged by."""
    return line.at, line.serial, line.seq


def forwards(source: Source, raw_lines: Iterable[bytes], at: dt.datetime = UNTIMED) -> Iterator[Line]:
    """Lines in the file's order; one without a time, such as a traceback's, has the time of the one before.

    `at` is that time for the first line.
    """
    for raw in raw_lines:
        line = _parse(source, raw)
        if line.at is UNTIMED:
            line = line._replace(at=at)
        at = line.at
        yield line


def backwards(source: Source, raw_lines: Iterable[bytes]) -> Iterator[Line]:
    """The same for lines that come last one first."""
    untimed: list[Line] = []
    for raw in raw_lines:
        line = _parse(source, raw)
        if line.at is UNTIMED:
            untimed.append(line)
            continue
        for each in untimed:
            yield each._replace(at=line.at)
        untimed.clear()
        yield line
    yield from untimed


def _parse(source: Source, raw: bytes) -> Line:
    text = raw.decode(errors="replace")
    if source.group == SUPERVISOR:
        first, _, rest = text.partition(" ")
        at = _time(first)
        return _line(source, text) if at is None else _line(source, rest, at)
    fields = text.split(" ", 3)
    at = _time(fields[0])
    if at is None or len(fields) < 4 or not (fields[1].isdecimal() and fields[2].isdecimal()):
        return _line(source, text)
    column = _JOB.match(fields[3])
    text = fields[3][column.end() :] if column else fields[3]
    line = _line(source, text, at, serial=int(fields[2]), seq=int(fields[1]))
    if column and column["id"]:
        line.job, line.kind = int(column["id"]), unquote(column["kind"])
    return line


def _line(source: Source, text: str, at: dt.datetime = UNTIMED, *, serial: int = 0, seq: int = 0) -> Line:
    return Line(at, source.group, source.slot, source.stream, serial, seq, text)


def _time(word: str) -> dt.datetime | None:
    if word[10:11] != "T":
        return None
    try:
        at = dt.datetime.fromisoformat(word)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=dt.UTC)
