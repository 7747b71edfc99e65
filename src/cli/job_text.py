"""Pure: jobs as people read them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from .plain import Cell, printable, table
from .plain import seconds as duration

STATUS_COLOURS = {
    "succeeded": "green",
    "running": "cyan",
    "waiting": "cyan",
    "pending": "yellow",
    "dead": "red",
    "cancelled": "grey",
}
TEXT_LIMIT = 60

Row = dict[str, Any]


def jobs_table(rows: list[Row]) -> str:
    """One line a job."""
    header = ("id", "kind", "queue", "status", "attempt", "progress", "user", "created", "worker", "error")
    spare = tuple(header.index(name) for name in ("worker", "queue", "progress", "user", "attempt", "created"))
    return table(header, [_job_row(row) for row in rows], right=frozenset({0, 4, 5}), spare=spare, cut_last=True)


def stats_table(rows: list[Row]) -> str:
    """Three lines a queue and kind: the last minute, hour and day."""
    header = ("queue", "kind", "pending", "oldest", "retries", "running", "", "jobs/s", "done", "failed", "dead",
              "wait p50", "p95", "p99", "run p50", "p95", "p99")  # fmt: skip
    lines = [_stats_row(row, during) for row in rows for during in ("1m", "1h", "1d")]
    spare = (4, 12, 15, 5, 9, 13, 16, 0, 3, 8, 7)  # retries, p95, running, failed, p99, queue, oldest, done, jobs/s
    return table(header, lines, right=frozenset({*range(2, 6), *range(7, 17)}), spare=spare)


def _stats_row(row: Row, during: str) -> list[Cell]:
    span, first = row[during], during == "1m"
    times = [span[f"{what}_{share}_seconds"] for what in ("wait", "run") for share in ("p50", "p95", "p99")]
    return [
        row["queue"] if first else "",
        row["kind"] if first else "",
        f"{'~' if row['guessed'] else ''}{row['pending']}" if first else "",
        duration(row["oldest_due_seconds"]) if first else "",
        str(row["retries"]) if first else "",
        str(row["running"]) if first else "",
        (during, "grey"),
        f"{span['per_second']:.3g}" if span["per_second"] else "",
        *(str(span[name] or "") for name in ("succeeded", "failed", "dead")),
        *("" if seconds is None else duration(seconds) for seconds in times),
    ]


def job_text(job: Row, failed: list[Row], log: list[Row]) -> str:
    """Everything about one job."""
    shown = ("kind", "queue", "status", "waits_because", "priority", "attempt", "max_attempts", "failures", "deaths",
             "user_id", "plan", "parent_id", "unique_key", "node", "worker", "created_at", "run_at", "started_at",
             "finished_at", "error")  # fmt: skip
    lines = [f"job {job['id']}"]
    lines += [f"  {name:<14} {_hanging(job[name])}" for name in shown if job[name] not in (None, "")]
    if job["progress"]:
        lines.append(f"  {'progress':<14} {_progress(job)}")
    if job["children_total"]:
        counts = ", ".join(f"{job[f'children_{name}']} {name}" for name in ("succeeded", "dead", "cancelled"))
        lines.append(f"  {'children':<14} {job['children_total']}: {counts}")
    lines += [
        f"    failed child {child['id']} {printable(child['kind'])}: {printable(child['error'] or '')}"
        for child in failed
    ]
    for name in ("payload", "result", "remembered"):
        if job[name] is not None:
            lines.append(f"  {name}\n" + _indented(json.dumps(job[name], ensure_ascii=False, indent=2)))
    if log:
        lines.append("  log")
        lines += [f"    {_entry(entry)}" for entry in log]
    return "\n".join(lines)


def _entry(entry: Row) -> str:
    """A line of the execution log: when, how grave, what, and its fields."""
    fields = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in (entry["fields"] or {}).items())
    text = printable("  ".join((entry["message"], *fields)))
    return f"{entry['logged_at'].astimezone():%H:%M:%S} {entry['level']:<7} {text}"


def _hanging(value: object) -> str:
    """An error may have lines: the stacks of a worker that hung."""
    if isinstance(value, dt.datetime):
        return value.astimezone().isoformat(" ", "milliseconds")
    return f"\n{'':<17}".join(printable(line) for line in str(value).split("\n"))


def _job_row(row: Row) -> list[Cell]:
    return [
        str(row["id"]),
        row["kind"],
        row["queue"],
        (row["status"], STATUS_COLOURS[row["status"]]),
        f"{row['attempt']}/{row['max_attempts']}",
        _progress(row),
        row["user_id"] or "",
        f"{row['created_at'].astimezone():%m-%d %H:%M:%S}",
        row["worker"] or "",
        _cut(row["error"] or ""),
    ]


def _progress(row: Row) -> str:
    return f"{row['progress']['done']}/{row['progress']['total']}" if row["progress"] else ""


def _cut(text: str) -> str:
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= TEXT_LIMIT else line[: TEXT_LIMIT - 1] + "…"


def _indented(text: str) -> str:
    return "\n".join(f"    {printable(line)}" for line in text.split("\n"))
