"""Pure: one frame of `top` from what was read, for a terminal of any size from 60 x 16 on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .plain import seconds, size
from .plain import width as columns
from .status_table import PHASE_COLOURS, STATE_COLOURS
from .top_samples import Seat, Track, seats, sparkline

if TYPE_CHECKING:
    from ..logs.reader import Line

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]|\x1b\[[0-9;]*[A-Za-z]")
FIXED_COLUMNS = 52  # of a process row without its name and its two lines, gaps included
NAME_COLUMNS = 20  # at most; longer names are cut
NAME_LEAST = 10  # else restarts and cpu are left out,
FIGURES_COLUMNS = 16  # which take so much
NUMBERS_COLUMNS = 42  # of a row without its name and without lines
LINE_LEAST, LINE_MOST = 6, 40
JOBS_SHOWN = 5
LOGS_LEAST = 3
HEADINGS = 3  # headline, header of the processes, footer


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that one frame shows."""

    document: Mapping[str, Any] | None  # None: no supervisor answers
    tracks: Mapping[tuple[str, int], Track]
    queues: Sequence[Mapping[str, Any]]
    lines: Sequence[Line]
    note: str = ""


def frame(reading: Reading, width: int, height: int, *, keys: bool) -> RenderableType:
    """At most `height` lines of at most `width` columns; what finds no room is counted, not cut silently."""
    if reading.document is None:
        return Text(f"waiting{' (q quits)' if keys else ''}: {reading.note}", no_wrap=True, overflow="ellipsis")
    found = seats(reading.document)
    jobs = [(seat, job) for seat in found for job in seat.process.get("jobs", [])]
    rows = _share(height, len(found), len(reading.queues), len(jobs))
    parts: list[RenderableType] = [_headline(reading.document), _processes(found, reading.tracks, rows[0], width)]
    if reading.queues and rows[1]:
        parts.append(_queues(reading.queues, rows[1]))
    if jobs and rows[2]:
        parts.append(_jobs(jobs, rows[2]))
    parts += [_log_line(line) for line in list(reading.lines)[-rows[3] :]] if rows[3] else []
    if keys:
        parts.append(Text(f"q quits{'  ' if reading.note else ''}{reading.note}", style="bright_black", no_wrap=True))
    return Group(*parts)


def _share(height: int, processes: int, queues: int, jobs: int) -> tuple[int, int, int, int]:
    """Lines for processes, queues with their header, jobs with theirs, and the log, which takes what is left."""
    room = max(1, height - HEADINGS - LOGS_LEAST)
    queue_rows = min(queues + 1, max(2, room // 4)) if queues else 0
    job_rows = min(jobs, JOBS_SHOWN, max(1, room // 4)) + 1 if jobs else 0
    process_rows = min(processes, max(1, room - queue_rows - job_rows))
    logs = height - HEADINGS - process_rows - queue_rows - job_rows
    return process_rows, queue_rows, job_rows, max(0, logs)


def _headline(document: Mapping[str, Any]) -> Text:
    supervisor, node = document["supervisor"], document["node"]
    ready = sum(team["ready"] for team in document["pools"])
    desired = sum(team["desired"] for team in document["pools"])
    text = Text("workerctl ", no_wrap=True, overflow="ellipsis")
    text.append(supervisor["state"], style=STATE_COLOURS.get(supervisor["state"], "yellow"))
    text.append(f"  {ready}/{desired} workers ready  up {seconds(supervisor['uptime_seconds'])}  {node['host']}")
    return text


def _processes(found: Sequence[Seat], tracks: Mapping[tuple[str, int], Track], rows: int, width: int) -> RenderableType:
    longest = min(NAME_COLUMNS, max(columns(seat.group) for seat in found) if found else 0)
    room = (width - FIXED_COLUMNS - longest) // 2
    spark = min(LINE_MOST, room) if room >= LINE_LEAST else 0  # a narrow terminal shows the figures alone
    lines = ("",) if spark else ()
    narrow = width < NUMBERS_COLUMNS + NAME_LEAST
    figures = () if narrow else ("restarts", "cpu", *lines)
    right = {1, 3} if narrow else {1, 3, 4, 5 + len(lines)}
    table = _table("name", "slot", "phase", *figures, "memory", *lines, right=right)
    room = width - NUMBERS_COLUMNS + (FIGURES_COLUMNS if narrow else 0)
    table.columns[0].max_width = NAME_COLUMNS if spark else min(NAME_COLUMNS, room)
    hidden = len(found) - rows
    for seat in found[: rows - 1] if hidden else found:
        cells = _row(seat, tracks.get(seat.key, Track()), spark)
        table.add_row(*cells[:3], *cells[5 if narrow else 3 :])
    if hidden:
        table.add_row(Text(f"+{hidden + 1} more", style="bright_black"))
    return table


def _row(seat: Seat, track: Track, spark: int) -> list[Text]:
    process = seat.process
    cpu = process["cpu_percent"]
    limit = seat.limit_bytes or 1.25 * max(track.rss_bytes, default=0.0)  # without one the peak is near the top
    share = (process["rss_bytes"] or 0) / seat.limit_bytes if seat.limit_bytes else 0.0
    cells = [
        Text(seat.group, style="" if seat.is_worker else "bright_black"),
        Text(str(process["slot"])),
        Text(process["phase"], style=PHASE_COLOURS.get(process["phase"], "")),
        Text(str(process["restarts"]), style="yellow" if process["restarts"] else ""),
        Text("-" if cpu is None else f"{cpu:.0f}%"),
        Text(size(process["rss_bytes"])),
    ]
    if spark:
        busy = sparkline(track.cpu_percent, spark, max(100.0, max(track.cpu_percent, default=0.0)))
        cells.insert(5, Text(busy, style="cyan"))
        cells.append(Text(sparkline(track.rss_bytes, spark, limit), style="red" if share > 0.9 else "green"))
    return cells


def _queues(queues: Sequence[Mapping[str, Any]], rows: int) -> RenderableType:
    table = _table("queue", "due", "running", "later", "oldest due", right={1, 2, 3, 4})
    shown = sorted(queues, key=lambda queue: (-queue["due"] - queue["running"], queue["queue"]))[: rows - 1]
    for queue in shown:
        name = f"{queue['queue']} (paused)" if queue["paused"] else queue["queue"]
        table.add_row(name, str(queue["due"]), str(queue["running"]), str(queue["later"]),
                      seconds(queue["oldest_due_seconds"]), style="yellow" if queue["paused"] else "")  # fmt: skip
    return table


def _jobs(jobs: Sequence[tuple[Seat, Mapping[str, Any]]], rows: int) -> RenderableType:
    table = _table("job", "kind", "worker", "for", right={0, 3})
    longest = sorted(jobs, key=lambda pair: -float(pair[1]["seconds"]))
    for seat, job in longest[: rows - 1]:
        table.add_row(str(job["id"]), str(job["kind"]), f"{seat.group}/{seat.process['slot']}", seconds(job["seconds"]))
    return table


def _table(*headings: str, right: set[int]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bright_black")
    for number, column in enumerate(headings):
        table.add_column(column, justify="right" if number in right else "left", no_wrap=True, overflow="ellipsis")
    return table


def _log_line(line: Line) -> Text:
    name = line.group if line.group == "supervisor" else f"{line.group}/{line.slot}"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{line.at.astimezone():%H:%M:%S} ", style="bright_black")
    text.append(f"{name} ", style="red" if line.stream == "err" else "cyan")
    text.append(CONTROL.sub("", line.text).replace("\t", " "))
    return text
