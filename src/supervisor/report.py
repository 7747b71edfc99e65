"""The roster as the document that `status --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .composition import Policy
from .health import progress
from .members import Exit, Member, Slot
from .notices import notices
from .roster import Reload, Reloaded, Roster, Team, shown_name


def report(roster: Roster, policy: Policy, pid: int, now: float, private_bytes: Mapping[int, int]) -> dict[str, Any]:
    """The fields of CLI.md, and under `roles` what serves the workers (collector, postgres, agent, template).

    `private_bytes` has the size that only a process itself holds, by pid, as far as it was measured.
    """
    pools, apps, roles, primary = [], [], [], None
    for team in roster.teams.values():
        if team.group.kind == "pool":
            pools.append(_pool(team, now, private_bytes))
        elif team.group.role:
            roles.append(_processes(team, now, private_bytes))
        else:
            apps.append(_processes(team, now, private_bytes))
        if team.group.kind == "agent":
            primary = _primary(team, roster)
    return {
        "supervisor": {
            "pid": pid,
            "version": roster.version,
            "uptime_seconds": _seconds(now - roster.started_at),
            "state": str(progress(roster, policy)),
            "release": _release_name(roster),
            "reload": _reload(roster, roster.reload) if roster.reload else None,
            "last_reload": _last_reload(roster.reloaded) if roster.reloaded else None,
        },
        "node": {
            "id": roster.node.id,
            "host": roster.node.host,
            "cores": roster.node.cores,
            "reserved_cores": roster.node.reserved_cores,
        },
        "primary": primary,
        "pools": pools,
        "apps": apps,
        "roles": roles,
        "warnings": [notice._asdict() for notice in notices(roster, policy)],
    }


def _primary(team: Team, roster: Roster) -> dict[str, Any]:
    members = [slot.stays for slot in team.slots if slot.stays is not None]
    return {
        "pid": members[0].pid if members else None,
        "holds_lease": bool(members) and roster.primary.holds_lease,
        "holder": roster.primary.holder,
    }


def _pool(team: Team, now: float, private_bytes: Mapping[int, int]) -> dict[str, Any]:
    return {
        "name": team.group.name,
        "desired": team.desired,
        "ready": sum(slot.is_ready for slot in team.wanted),
        "replacing": sum(len(slot.members) > 1 for slot in team.slots),
        "memory_limit_bytes": team.group.max_memory_bytes,
        "workers": [
            _process(slot, now, private_bytes) | _work(_shown(slot)) | {"release": _release_of(_shown(slot))}
            for slot in team.slots
        ],
    }


def _processes(team: Team, now: float, private_bytes: Mapping[int, int]) -> dict[str, Any]:
    released = {"release": _named(team.release, team.fingerprint)} if team.group.kind == "template" else {}
    return {
        "name": shown_name(team.group.name),
        "kind": team.group.kind,
        "desired": team.desired,
        "ready": sum(slot.is_ready for slot in team.slots),
        "processes": [_process(slot, now, private_bytes) | {"done": slot.done} | released for slot in team.slots],
    }


def _shown(slot: Slot) -> Member | None:
    """Whom a slot stands for while two sit in it: the ready one, else the newest."""
    ready = [member for member in slot.members if member.is_ready]
    return ready[-1] if ready else slot.newest


def _process(slot: Slot, now: float, private_bytes: Mapping[int, int]) -> dict[str, Any]:
    member = _shown(slot)
    return {
        "slot": slot.number,
        "pid": member.pid if member else None,
        "phase": str(slot.phase),
        "uptime_seconds": _seconds(now - member.spawned_at) if member else None,
        "restarts": slot.restarts,
        "rss_bytes": member.usage.rss_bytes if member else None,
        "private_bytes": private_bytes.get(member.pid) if member and member.pid is not None else None,
        "cpu_percent": member.usage.cpu_percent if member else None,
        "last_exit": _last_exit(slot.last_exit, now),
    }


def _release_of(member: Member | None) -> str | None:
    return _named(member.release, member.fingerprint) if member is not None else None


def _named(number: int, fingerprint: str) -> str:
    """The number of the release in this supervisor's life, and the fingerprint of its code."""
    return f"{number}@{fingerprint}" if fingerprint else str(number)


def _release_name(roster: Roster) -> str:
    fingerprints = (roster.teams[team.group.template or ""].fingerprint for team in roster.teams.values()
                    if team.group.kind == "pool" and team.group.template in roster.teams)  # fmt: skip
    fingerprint = next(fingerprints, "")
    return f"{roster.release}@{fingerprint}" if fingerprint else roster.release


def _reload(roster: Roster, reload: Reload) -> dict[str, Any]:
    slots = [slot for name in reload.pools for slot in roster.teams[name].wanted]
    moved = sum(any(member.is_ready and member.release == reload.number for member in slot.members) for slot in slots)
    imported = all(roster.ready_template(name) is not None for name in reload.templates)
    return {"number": reload.number, "pools": list(reload.pools), "imported": imported, "moved": moved,
            "of": len(slots)}  # fmt: skip


def _last_reload(ended: Reloaded) -> dict[str, Any]:
    group, slot, serial = ended.who or (None, None, None)
    return {"number": ended.number, "outcome": ended.outcome, "exit_code": ended.words.exit_code,
            "message": ended.words.message, "group": group, "slot": slot, "serial": serial}  # fmt: skip


def _work(member: Member | None) -> dict[str, Any]:
    return {
        "incarnation": member.incarnation if member else None,
        "jobs_running": member.work.jobs_running if member else 0,
        "jobs_done": member.work.jobs_done if member else 0,
        "jobs_failed": member.work.jobs_failed if member else 0,
        "jobs": list(member.work.jobs) if member else [],
        "growth": list(member.work.growth) if member else [],
        "caches": list(member.work.caches) if member else [],
    }


def _last_exit(end: Exit | None, now: float) -> dict[str, Any] | None:
    if end is None:
        return None
    return {
        "cause": str(end.cause),
        "exit_code": end.code,
        "signal": end.signal,
        "message": end.message,
        "seconds_ago": _seconds(now - end.at),
    }


def _seconds(seconds: float) -> float:
    return round(max(0.0, seconds), 1)
