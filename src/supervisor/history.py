"""What is written down of an ended process: one line of state/exits.jsonl. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import events as ev
from .askers import Asker
from .members import Member
from .roster import shown_name


def exit_record(
    event: ev.Exited, member: Member, asker: Asker | None, curve_mb: Sequence[int], period_seconds: float
) -> dict[str, Any]:
    """Everything that `why` tells but the log lines. `curve_mb` are its last sizes, oldest first, one a period."""
    limit = member.group.max_memory_bytes if member.group is not None else None
    return {
        "group": shown_name(event.group),
        "slot": event.slot,
        "serial": event.serial,
        "release": member.release,
        "fingerprint": member.fingerprint or None,
        "pid": member.pid,
        "incarnation": member.incarnation,
        "cause": str(event.cause),
        "exit_code": event.code,
        "signal": event.signal,
        "asked_by": asker.document() if asker is not None else None,
        "uptime_seconds": round(event.at - member.spawned_at, 3),
        "rss_bytes": member.usage.rss_bytes,
        "private_bytes": member.usage.private_bytes,
        "memory_limit_bytes": limit,
        "memory_curve_mb": list(curve_mb),
        "memory_period_seconds": period_seconds,
        "heard_seconds_ago": None if member.heartbeat_at is None else round(event.at - member.heartbeat_at, 3),
        "jobs_in_hand": member.work.jobs_running,
        "jobs": _jobs(event.at, member),
        "growth": list(member.work.growth),
        "message": member.words.message if member.words else "",
    }


def _jobs(at: float, member: Member) -> list[dict[str, Any]]:
    """As the last heartbeat named them, each as old as it was at the end."""
    since = at - (at if member.heartbeat_at is None else member.heartbeat_at)
    return [dict(job) | _aged(job.get("seconds"), since) for job in member.work.jobs]


def _aged(seconds: object, since: float) -> dict[str, Any]:
    return {"seconds": round(seconds + since, 3)} if isinstance(seconds, int | float) else {}
