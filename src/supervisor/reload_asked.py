"""What a new composition changes in a running one. Pure; what only a restart can change is refused with its names."""

from __future__ import annotations

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


def begin(roster: Roster, composition: Composition, name: str | None, now: float) -> ev.ReloadBegan:
    """The reload of everything, or of the pool or app `name` alone. Raises NotReloadable."""
    fresh = {group.name: group for group in composition.groups}
    _check(roster, fresh, name)
    number = roster.last_number + 1
    pools = {
        group.name: _with_new_template(group, fresh, number)
        for group in fresh.values()
        if group.kind == "pool" and name in (None, group.name)
    }
    templates = {
        group.template or "": msgspec.structs.replace(fresh[shown_name(group.template or "")], name=group.template)
        for group in pools.values()
    }
    others = {
        group.name: group
        for group in fresh.values()
        if group.kind not in (*KEPT, "pool") and group.name not in FIXED and _is_changed(roster, group, name)
    }
    return ev.ReloadBegan(now, number, composition.release, templates, pools, others)


def _check(roster: Roster, fresh: dict[str, Group], name: str | None) -> None:
    if roster.booted_at is None or roster.stop_at is not None:
        state = "starting" if roster.stop_at is None else "stopping"
        raise NotReloadable(f"the supervisor is {state}: reload when it runs")
    running = {shown_name(team): found.group for team, found in roster.teams.items() if not found.retired}
    templates = {name for name, group in (running | fresh).items() if group.kind == "template"}
    changed = sorted((running.keys() ^ fresh.keys()) - templates)  # theirs follow from what pools need
    if changed:
        raise NotReloadable(f"{', '.join(changed)} came or went: that needs `workerctl restart`")
    if name is not None and (name not in running or running[name].role):
        names = ", ".join(other for other, group in running.items() if not group.role)
        raise NotReloadable(f"nothing that can be reloaded is named {name!r}; there are: {names}")


def _with_new_template(group: Group, fresh: dict[str, Group], number: int) -> Group:
    """The pool as it will be, after a template of this release."""
    template = f"{group.template}:{number}"
    after = tuple(template if other == group.template else other for other in group.after)
    assert group.template in fresh
    return msgspec.structs.replace(group, template=template, after=after)


def _is_changed(roster: Roster, group: Group, name: str | None) -> bool:
    """A role changes with everything; an app where it is composed otherwise, or is named."""
    if name is not None:
        return group.name == name
    return roster.teams[group.name].group != group
