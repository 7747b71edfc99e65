"""What a new composition changes in a running one. Pure; what only a restart can change is refused with its names."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..contract import Exit, WorkerctlError
from . import events as ev
from .composition import Composition, Group
from .roster import Roster, shown_name

KEPT = frozenset({"once", "template"})  # migrations have run; templates get teams of their own
FIXED = frozenset({"postgres"})


class NotReloadable(WorkerctlError):
    """The new composition needs a restart, or what is named cannot be reloaded now; nothing has changed."""

    exit_code = Exit.FAILED


def begin(
    roster: Roster, composition: Composition, name: str | None, desired: Mapping[str, int], now: float
) -> ev.ReloadBegan:
    """The reload of everything, or of the pool or app `name` alone. Raises NotReloadable.

    `desired` are persisted counts of workers, which a pool that comes begins with.
    """
    fresh = {group.name: group for group in composition.groups}
    running = {shown_name(team): found.group for team, found in roster.teams.items() if not found.retired}
    _check(roster, running, fresh, name)
    number = roster.last_number + 1
    wanted = [group for group in fresh.values() if name in (None, group.name) and not group.role]
    pools = {group.name: _with_new_template(group, fresh, number) for group in wanted if group.kind == "pool"}
    added = {group.name: _counted(group, desired) for group in wanted if group.name not in running}
    added |= {name: _counted(group, desired) for name, group in pools.items() if name not in running}
    templates = {
        group.template or "": msgspec.structs.replace(fresh[shown_name(group.template or "")], name=group.template)
        for group in pools.values()
    }
    others = {
        group.name: _with_new_template(group, fresh, number) if group.template else group
        for group in fresh.values()
        if group.kind not in (*KEPT, "pool") and group.name not in (*FIXED, *added) and _is_changed(roster, group, name)
    }
    return ev.ReloadBegan(
        now,
        number,
        composition.release,
        templates,
        {name: group for name, group in pools.items() if name not in added},
        others,
        added,
        tuple(other for other, group in running.items() if name is None and other not in fresh and not group.role),
        tuple(fresh),
    )


def _check(roster: Roster, running: dict[str, Group], fresh: dict[str, Group], name: str | None) -> None:
    if roster.booted_at is None or roster.stop_at is not None:
        state = "starting" if roster.stop_at is None else "stopping"
        raise NotReloadable(f"the supervisor is {state}: reload when it runs")
    roles = {name for name, group in (running | fresh).items() if group.role and group.kind != "template"}
    changed = sorted((running.keys() ^ fresh.keys()) & roles)  # templates follow from what pools need
    if changed:
        raise NotReloadable(f"{', '.join(changed)} came or went: that needs `workerctl restart`")
    apart = sorted(other for other in running.keys() & fresh.keys() if not running[other].role)
    if name is not None and name not in apart:
        hint = "; `workerctl reload` without a name brings and removes" if name in running.keys() ^ fresh.keys() else ""
        raise NotReloadable(f"{name!r} cannot be reloaded alone; there are: {', '.join(apart)}{hint}")


def _counted(group: Group, desired: Mapping[str, int]) -> Group:
    """With as many workers as were asked for when there was a pool of this name."""
    if group.kind != "pool":
        return group
    return msgspec.structs.replace(group, instances=desired.get(group.name, group.instances))


def _with_new_template(group: Group, fresh: dict[str, Group], number: int) -> Group:
    """A pool, or a role, as it will be, after a template of this release."""
    template = f"{group.template}:{number}"
    after = tuple(template if other == group.template else other for other in group.after)
    assert group.template in fresh
    return msgspec.structs.replace(group, template=template, after=after)


def _is_changed(roster: Roster, group: Group, name: str | None) -> bool:
    """A role changes with everything; an app where it is composed otherwise, or is named."""
    if name is not None:
        return group.name == name
    return group.name in roster.teams and roster.teams[group.name].group != group
