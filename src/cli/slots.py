"""What `show` and `why` tell: from the running supervisor where there is one, and from the files of the home."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..contract import NotRunning
from .common import fail
from .endings import exits_table, growth
from .plain import seconds, size
from .status_table import last_exit

EXITS_SHOWN = 10
WORDS_SHOWN = 20  # last log lines of a process that ended
STACKS_SHOWN = 100  # where it dumped the stacks of its threads: all of them


def parse(name: str) -> tuple[str, int | None]:
    """POOL or POOL/SLOT. Ends the command where the slot is no number."""
    group, _, slot = name.partition("/")
    if slot and not slot.isdigit():
        fail(f"{name!r}: expected NAME or NAME/SLOT, such as default/1", 2)
    return group, int(slot) if slot else None


def exits(home: Path, group: str, slot: int | None) -> list[dict[str, Any]]:
    """The recorded exits of a group or slot, oldest first."""
    try:
        lines = (home / "state" / "exits.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a line that a full disk cut
        if record.get("group") == group and slot in (None, record.get("slot")):
            found.append(record)
    return found


def running_document(home: Path) -> dict[str, Any] | None:
    """What the supervisor of this home says of itself; None where none runs."""
    from ..supervisor.client import request

    try:
        document: dict[str, Any] = request(home, "status")["status"]
    except NotRunning:
        return None
    return document


def facts(home: Path, document: dict[str, Any] | None, name: str) -> dict[str, Any]:
    """Everything about one name. Ends the command where it is unknown both to the supervisor and to the files."""
    group, slot = parse(name)
    teams = {team["name"]: team for part in ("pools", "apps", "roles") for team in (document or {}).get(part, [])}
    team = teams.get(group)
    history = exits(home, group, slot)
    if team is None and not history:
        if not teams:
            fail(f"nothing runs, and no end of {group!r} is recorded; `workerctl start` starts what there is")
        fail(f"nothing is named {group!r}; there are: {', '.join(teams)}")
    processes = [] if team is None else team.get("workers") or team.get("processes") or []
    wanted = [process for process in processes if slot in (None, process["slot"])]
    if team is not None and not wanted and not history and slot is not None:
        fail(f"{group} has no slot {slot}; there are: {', '.join(str(each['slot']) for each in processes) or 'none'}")
    told = [each["text"] for each in (document or {}).get("warnings", ())
            if each["name"] == group and slot in (None, each["slot"])]  # fmt: skip
    return {
        "name": name,
        "group": group,
        "running": document is not None,
        "processes": wanted,
        "exits": history[-EXITS_SHOWN:],
        "warnings": told,
    }


def describe(found: dict[str, Any]) -> str:
    """The facts for people."""
    parts = [] if found["running"] else ["nothing is running; from the files:"]
    parts += [_process(found["group"], process) for process in found["processes"]]
    grown = growth(process.get("growth", ()) for process in found["processes"])
    parts += ["grown by\n" + "\n".join(f"  {line}" for line in grown)] if grown else []
    parts += [f"warning: {text}" for text in found["warnings"]]
    if found["exits"]:
        parts.append(exits_table(found["exits"]))
    elif found["running"]:
        parts.append("no process of it has ended yet")
    return "\n\n".join(parts)


def _process(group: str, process: dict[str, Any]) -> str:
    pairs = {
        "name": f"{group}/{process['slot']}",
        "phase": process["phase"],
        "pid": process["pid"] or "-",
        "uptime": seconds(process["uptime_seconds"]),
        "restarts": process["restarts"],
        "memory": f"{size(process['rss_bytes'] or None)} resident, {size(process['private_bytes'])} private",
        "cpu": "-" if process["cpu_percent"] is None else f"{process['cpu_percent']:.1f}%",
        "last exit": last_exit(process["last_exit"]) or "none",
    }
    if "jobs_running" in process:
        counts = f"{process['jobs_running']} running, {process['jobs_done']} done, {process['jobs_failed']} failed"
        pairs["jobs"] = counts
    if process.get("release"):
        pairs["release"] = process["release"]
    if process.get("caches"):
        pairs["looked up"] = "; ".join(
            f"{each['use']} {each['hits']} times from memory, {each['misses']} times not, {each['entries']} kept"
            for each in process["caches"]
        )
    lines = [f"{name:<10} {value}" for name, value in pairs.items()]
    lines += [f"  job {job['id']} {job['kind']} for {seconds(job['seconds'])}" for job in process.get("jobs", [])]
    return "\n".join(lines)
