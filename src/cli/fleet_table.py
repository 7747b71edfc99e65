"""Pure: the fleet's machines and workers as people read them."""

from __future__ import annotations

from typing import Any

from .plain import Cell, seconds, table

Row = dict[str, Any]


def fleet_text(nodes: list[Row], workers: list[Row]) -> str:
    """A headline, a line per machine, a line per worker."""
    alive = [node for node in nodes if node["alive"]]
    versions = sorted({node["version"] for node in alive})
    mixed = f"; versions differ: {', '.join(versions)}" if len(versions) > 1 else ""
    headline = f"{len(alive)} of {len(nodes)} nodes alive, {len(workers)} workers{mixed}"
    return "\n".join((headline, nodes_table(nodes), workers_table(workers)))


def nodes_table(rows: list[Row]) -> str:
    """One line a machine."""
    cells: list[list[Cell]] = [
        [row["host"], row["id"][:8], ("alive", "green") if row["alive"] else ("gone", "red"),
         "primary" if row["is_primary"] else "", str(row["workers"]), str(row["jobs_running"]), str(row["cores"]),
         row["version"], f"{seconds(row['renewed_seconds_ago'])} ago"]
        for row in rows
    ]  # fmt: skip
    header = ("host", "node", "lease", "role", "workers", "running", "cores", "version", "renewed")
    spare = tuple(header.index(name) for name in ("cores", "version", "node", "running", "renewed"))
    return table(header, cells, right=frozenset({4, 5, 6, 8}), spare=spare)


def workers_table(rows: list[Row]) -> str:
    """One line a worker."""
    cells: list[list[Cell]] = [
        [row["host"], row["node_id"][:8], f"{row['pool']}/{row['slot']}", str(row["pid"]), str(row["jobs_running"]),
         f"{max(0.0, row['lease_seconds_left']):.0f}s" if row["lease_seconds_left"] > 0 else ("over", "red")]
        for row in rows
    ]  # fmt: skip
    return table(("host", "node", "worker", "pid", "running", "lease"), cells, right=frozenset({3, 4, 5}), spare=(1, 3))
