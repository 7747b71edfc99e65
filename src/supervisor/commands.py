"""What a command of the control socket means: facts for the roster and a response. Reads files, changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..contract import Exit, WorkerctlError
from . import events as ev
from .composition import Policy, load_composition
from .control import Request, refusal
from .members import Words
from .reload_asked import begin
from .roster import Roster, Team, shown_name
from .state import load_desired

MUTATING = frozenset({"stop", "scale", "restart", "reload", "reset", "reopen", "noted"})


class Denied(WorkerctlError):
    """The command cannot be carried out; nothing has changed."""

    exit_code = Exit.FAILED


def answer(roster: Roster, policy: Policy, request: Request, now: float) -> tuple[tuple[ev.Event, ...], dict[str, Any]]:
    """The facts that follow from a mutating command, and the response; no facts where it is refused."""
    try:
        match request.command:
            case "stop":
                return _stop(request.arguments, now)
            case "scale":
                return _scale(roster, policy, request.arguments, now)
            case "restart":
                teams = _named(roster, request.arguments, default_all=True)
                names = [team.group.name for team in teams]
                return tuple(ev.RestartAsked(now, name) for name in names), {"ok": True, "names": names}
            case "reload":
                return _reload(roster, request.arguments, now)
            case "reset":
                teams = _named(roster, request.arguments, default_all=False)
                return tuple(ev.ResetAsked(now, team.group.name) for team in teams), {"ok": True}
            case "reopen" | "noted":  # what a command line changed elsewhere: the audit line is all
                return (), {"ok": True}
    except WorkerctlError as error:
        return (), refusal(str(error), error.exit_code)
    return (), refusal(f"unknown command {request.command!r}; this supervisor is workerctl {roster.version}")


def _stop(arguments: dict[str, Any], now: float) -> tuple[tuple[ev.Event, ...], dict[str, Any]]:
    facts: tuple[ev.Event, ...] = (ev.StopAsked(now, Words(Exit.DONE, "")),)
    if arguments.get("now"):
        facts = (*facts, ev.Hurried(now))
    return facts, {"ok": True}


def _scale(
    roster: Roster, policy: Policy, arguments: dict[str, Any], now: float
) -> tuple[tuple[ev.Event, ...], dict[str, Any]]:
    name = arguments.get("pool", "default")
    team = roster.teams.get(name) if isinstance(name, str) else None
    if team is not None and not team.group.role and team.group.kind == "command":
        raise Denied(f"{name} is an app: change [apps.{name}] instances, then `workerctl reload`; `scale` is for pools")
    if team is None or team.group.kind != "pool" or team.retired:
        raise Denied(f"no pool is named {name!r}; there are: {_pool_names(roster)}")
    desired = _wanted_count(team, arguments)
    if desired < 0:
        raise Denied(f"{name} cannot have {desired} workers; 0 is the least")
    if desired > policy.instance_limit:
        raise Denied(f"{name} cannot have {desired} workers; {policy.instance_limit} is the most")
    _check_connections(roster, policy, team, desired)
    return (ev.Scaled(now, name, desired),), {"ok": True, "pool": name, "was": team.desired, "desired": desired}


def _reload(roster: Roster, arguments: dict[str, Any], now: float) -> tuple[tuple[ev.Event, ...], dict[str, Any]]:
    """The new composition lies in a file, which the caller wrote: the request itself is bounded."""
    path, name = arguments.get("composition"), arguments.get("name")
    if not isinstance(path, str) or not isinstance(name, str | None):
        raise Denied("reload needs `composition`, the path of what shall run, and may have a `name`")
    composition = load_composition(Path(path))
    desired = load_desired(composition.home_path)
    began = begin(roster, composition, name, desired, now)
    scaled = [
        ev.Scaled(now, group.name, group.instances)
        for group in began.pools.values()
        if group.instances != roster.teams[group.name].group.instances and group.name not in desired
    ]
    response = {"ok": True, "number": began.number, "pools": list(began.pools), "others": list(began.others),
                "added": list(began.added), "removed": list(began.removed)}  # fmt: skip
    return (began, *scaled), response


def _wanted_count(team: Team, arguments: dict[str, Any]) -> int:
    to, by = arguments.get("to"), arguments.get("by")
    if type(to) is int and by is None:
        return to
    if type(by) is int and to is None:
        return team.desired + by
    raise Denied("scale needs a whole number, `to` or `by`")


def _check_connections(roster: Roster, policy: Policy, team: Team, desired: int) -> None:
    limit = policy.connection_limit
    if limit is None or desired <= team.desired:
        return
    others = sum(other.desired for other in roster.teams.values() if other.group.kind == "pool" and other is not team)
    workers = others + desired
    surge, total = policy.surge(workers), policy.connections(workers)
    if total > limit:
        raise Denied(
            f"{desired} workers of {team.group.name} need {total} database connections "
            f"(({workers} workers + {surge} while they are replaced) x {policy.connections_per_worker} "
            f"+ {policy.connections_fixed} others), connection_limit is {limit}"
        )


def _named(roster: Roster, arguments: dict[str, Any], *, default_all: bool) -> list[Team]:
    name = arguments.get("name")
    if name is None and default_all:
        return [team for team in roster.teams.values() if not team.group.role]
    teams = [team for team in roster.teams.values() if shown_name(team.group.name) == name and not team.retired]
    if not teams or teams[0].group.kind == "once":
        names = ", ".join(shown_name(other) for other, team in roster.teams.items() if team.group.kind != "once")
        raise Denied(f"nothing here is named {name!r}; there are: {names}")
    return teams


def _pool_names(roster: Roster) -> str:
    pools = (name for name, team in roster.teams.items() if team.group.kind == "pool" and not team.retired)
    return ", ".join(pools) or "none"
