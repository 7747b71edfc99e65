"""What a wrapper shows of us: one line for systemd, a few numbers for PM2. Pure."""

from __future__ import annotations

from .composition import Policy
from .health import progress
from .roster import Member, Roster


def status_line(roster: Roster, policy: Policy) -> str:
    """As `systemctl status` prints it."""
    return f"{progress(roster, policy)}: {_workers(roster)} workers ready"


def metrics(roster: Roster, policy: Policy) -> dict[str, str]:
    """As `pm2 monit` lists them."""
    members = _members(roster)
    restarts = sum(slot.restarts for team in roster.teams.values() if team.group.kind == "pool" for slot in team.slots)
    return {
        "state": str(progress(roster, policy)),
        "workers": _workers(roster),
        "jobs running": str(sum(member.work.jobs_running for member in members)),
        "jobs done": str(sum(member.work.jobs_done for member in members)),
        "jobs failed": str(sum(member.work.jobs_failed for member in members)),
        "workers' memory": f"{sum(member.usage.size_bytes for member in members) >> 20} MB",
        "restarts": str(restarts),
    }


def _workers(roster: Roster) -> str:
    pools = [team for team in roster.teams.values() if team.group.kind == "pool"]
    ready = sum(slot.is_ready for team in pools for slot in team.wanted)
    return f"{ready}/{sum(team.desired for team in pools)}"


def _members(roster: Roster) -> list[Member]:
    pools = (team for team in roster.teams.values() if team.group.kind == "pool")
    return [member for team in pools for slot in team.slots for member in slot.members]
