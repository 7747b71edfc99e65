"""How figures are shown and written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.measure import Target, shown

COLUMNS = ("what", "median", "min .. max", "n", "target", "", "fsync", "load")


def show(document: dict[str, Any]) -> None:
    """The machine, then one line for each figure, then what could not be measured."""
    about = document["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items() if version)
    changed = f" with {about['changed_files']} changed files" if about["changed_files"] else ""
    print(f"\n{about['machine']}, {about['cores']} cores, {about['kernel']}")
    print(f"Python {about['python']}, PostgreSQL {about['postgresql']}, revision {about['revision']}{changed}")
    print(f"{packages}\n{document['at']}, {document['seconds']:.0f} s in all\n")
    rows = [COLUMNS, *(_row(figure) for figure in document["figures"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        cells = [cell.ljust(width) if column in (0, 4, 5) else cell.rjust(width)
                 for column, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        print("  ".join(cells).rstrip())
    notes = [f"  {figure['name']}: {figure['note']}" for figure in document["figures"] if figure["note"]]
    if notes:
        print("\n" + "\n".join(notes))
    for gap in document["missing"]:
        print(f"\nnot measured: {gap['group']}, {gap['what']}: {gap['reason']}")


def write(document: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    targets = [Target(**target) for target in figure["targets"]]
    sign = "<=" if targets and targets[0].at_most else ">="
    verdicts = ["met" if target.is_met_by(figure["value"]) else "missed" for target in targets]
    return (
        figure["name"],
        f"{shown(figure['value'])} {figure['unit']}",
        f"{shown(figure['low'])} .. {shown(figure['high'])}",
        str(figure["count"]),
        f"{sign} {', '.join(shown(target.limit) for target in targets)}" if targets else "",
        ", ".join(verdicts),
        f"{figure['fsync_ms']:.2f} ms",
        f"{figure['load']:.1f}",
    )
