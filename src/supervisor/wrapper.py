"""What whoever wraps us gets to know: every turn of our life for systemd and PM2, and a few numbers."""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable

from . import events as ev
from .composition import Policy
from .health import progress
from .members import Member
from .notify import Notifier
from .roster import Roster


class Wrapper:
    """systemd or PM2, where there is one, or the `start` that waits for the other end of the descriptor `starter`.

    Made before any child could inherit what it takes out of the environment.
    """

    def __init__(self, starter: int | None = None) -> None:
        self._notifier = Notifier()
        self._starter = starter

    def listen(self, selector: selectors.BaseSelector, on_shutdown: Callable[[], None]) -> None:
        self._notifier.listen(selector, on_shutdown)

    def next_at(self) -> float:
        return self._notifier.next_at()

    def note(self, event: ev.Event, *, stops: bool) -> None:
        """Tell what this fact means; `stops`: with it the end has begun."""
        match event:
            case ev.Booted():
                self._notifier.booted()
                if self._starter is not None:
                    os.close(self._starter)
                    self._starter = None
            case ev.ReloadBegan(at=at):
                self._notifier.reloading(at)
            case ev.ReloadFailed() | ev.Committed():
                self._notifier.ready()
        if stops:
            self._notifier.stopping()

    def turn(self, now: float, roster: Roster, policy: Policy) -> None:
        """Once in each round of the loop."""
        if self._notifier.listens:
            extends = roster.stop_at is not None or roster.booted_at is None
            text = status_line(roster, policy)
            self._notifier.turn(now, text, lambda: metrics(roster, policy), extends=extends)


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
