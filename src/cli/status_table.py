"""Pure: the `status` document as a table for people."""

from __future__ import annotations

from typing import Any

from .plain import Cell, coloured, flow, seconds, size, table

PHASE_COLOURS = {"ready": "green", "starting": "yellow", "draining": "yellow", "stopping": "yellow", "parked": "red"}
STATE_COLOURS = {"running": "green", "degraded": "red", "waiting for database": "red"}  # others are yellow
HEADER = (
    "name",
    "slot",
    "pid",
    "phase",
    "uptime",
    "restarts",
    "memory",
    "cpu",
    "running",
    "done",
    "failed",
    "release",
    "last exit",
)
NUMBERS = frozenset({1, 2, 5, 6, 7, 8, 9, 10})
SPARE = tuple(
    HEADER.index(name) for name in ("release", "cpu", "done", "uptime", "failed", "last exit", "running", "pid")
)


def status_text(document: dict[str, Any]) -> str:
    """The whole document: a headline, a row per slot, workers first, then what somebody should look at."""
    rows: list[list[Cell]] = []
    for team in document["pools"]:
        rows += [_row(team["name"], worker) for worker in team["workers"]]
    for team in [*document["apps"], *document["roles"]]:
        rows += [_row(team["name"], process) for process in team["processes"] if not process["done"]]
    told = [coloured(f"warning: {notice['text']}", "yellow") for notice in document.get("warnings", [])]
    return "\n".join((_headline(document), table(HEADER, rows, right=NUMBERS, spare=SPARE), *told))


def _headline(document: dict[str, Any]) -> str:
    supervisor, node = document["supervisor"], document["node"]
    ready = sum(team["ready"] for team in document["pools"])
    desired = sum(team["desired"] for team in document["pools"])
    role = "primary" if (document["primary"] or {}).get("holds_lease") else "not primary"
    up = seconds(supervisor["uptime_seconds"])
    return flow(
        (
            f"workerctl {supervisor['version']}",
            (supervisor["state"], STATE_COLOURS.get(supervisor["state"], "yellow")),
            f"pid {supervisor['pid']}, up {up}",
            f"{ready}/{desired} workers ready",
            f"{node['host']}: {node['cores']} cores, {node['reserved_cores']} reserved, {role}",
        )
    )


def _row(name: str, process: dict[str, Any]) -> list[Cell]:
    failed = process.get("jobs_failed")
    cpu = process["cpu_percent"]
    return [
        name,
        str(process["slot"]),
        str(process["pid"] or "-"),
        (process["phase"], PHASE_COLOURS.get(process["phase"])),
        seconds(process["uptime_seconds"]),
        (str(process["restarts"]), "yellow" if process["restarts"] else None),
        size(process["rss_bytes"] or None),
        "-" if cpu is None else f"{cpu:.0f}%",
        str(process.get("jobs_running", "")),
        str(process.get("jobs_done", "")),
        (str("" if failed is None else failed), "red" if failed else None),
        process.get("release") or "",
        (last_exit(process["last_exit"]), "grey"),
    ]


def last_exit(end: dict[str, Any] | None) -> str:
    """One exit in a few words: its cause, what ended it, how long ago."""
    if end is None:
        return ""
    how = f"signal {end['signal']}" if end["signal"] else f"exit {end['exit_code']}"
    return f"{end['cause']} ({how}) {seconds(end['seconds_ago'])} ago"
