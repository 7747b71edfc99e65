"""How deep the queue is and how fast it moves: per lane, per queue, over the last minute, hour and day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
from psycopg.rows import dict_row

from .connection import statement
from .histogram import percentile

Connection = psycopg.Connection[Any]
Row = dict[str, Any]

COUNTS = ("pending", "later", "retries", "held", "running", "waiting")
ENDS = ("succeeded", "failed", "dead", "cancelled")
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def stats(connection: Connection) -> list[Row]:
    """Per queue and kind: what waits and runs, and under `1m`, `1h`, `1d` what ended and how long it waited and took.

    Costs the same at a million rows: over 5,000 pending jobs of a lane are `guessed`.
    """
    rows = {
        (row["queue"], row["kind"]): row | dict.fromkeys(("1m", "1h", "1d"), _span({})) for row in lanes(connection)
    }
    for row in _rows(connection, "job_stats"):
        lane = rows.get((row["queue"], row["kind"]))
        if lane is not None:
            lane[row["during"]] = _span(row)
    return list(rows.values())


def queues(connection: Connection) -> list[Row]:
    """Per queue: how much is due, later, tried before, held by a limit and running, and what died within a day."""
    found: dict[str, Row] = {}
    dead = dict(connection.execute(statement("dead_lately")).fetchall())
    for lane in lanes(connection):
        queue = found.setdefault(lane["queue"], {"queue": lane["queue"]} | dict.fromkeys(COUNTS, 0))
        for name in COUNTS:
            queue[name] += lane[name]
        queue["paused"] = queue.get("paused", False) or lane["paused"]
        queue["guessed"] = queue.get("guessed", False) or lane["guessed"]
        queue["due"] = queue["pending"] - queue["later"]
        queue["dead_1d"] = dead.get(lane["queue"], 0)
        queue["oldest_due_seconds"] = _longest((queue.get("oldest_due_seconds"), lane["oldest_due_seconds"]))
    return list(found.values())


def lanes(connection: Connection) -> list[Row]:
    """Every queue and kind that has or had jobs, with what waits and runs."""
    return _rows(connection, "list_lanes")


def _span(row: Mapping[str, Any]) -> Row:
    ends: Row = {name: row.get(name, 0) for name in ENDS}
    ends["per_second"] = round(sum(ends.values()) / row["seconds"], 3) if row else 0.0
    for name in ("wait", "run"):
        histogram = row.get(f"{name}s") or {}
        ends |= {f"{name}_{share}_seconds": percentile(histogram, part) for share, part in SHARES.items()}
    return ends


def _longest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _rows(connection: Connection, name: str) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement(name)).fetchall()
