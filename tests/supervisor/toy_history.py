"""Histories of one app, and a world of workers: what pure tests of the supervisor begin with."""

from __future__ import annotations

from toy_world import POOL, World, roster_of

from workerctl.supervisor import events as ev
from workerctl.supervisor.apply import apply
from workerctl.supervisor.composition import Group
from workerctl.supervisor.roster import Roster
from workerctl.supervisor.states import Cause

ONE = (Group("app", "command", command=("app",), boot_timeout_seconds=10, stop_timeout_seconds=30),)


def history(*events: ev.Event, groups: tuple[Group, ...] = ONE, **fields: object) -> Roster:
    roster = apply(roster_of(groups, **fields), ev.GotAlone(0))
    for event in events:
        roster = apply(roster, event)
    return roster


def spawned(serial: int, at: float, **fields: object) -> ev.Spawned:
    return ev.Spawned(at, "app", 1, serial, **({"pid": 100 + serial} | fields))


def ready(serial: int, at: float) -> ev.BecameReady:
    return ev.BecameReady(at, "app", 1, serial)


def crashed(serial: int, at: float, code: int | None = 1, jitter: float = 1.0, cause: Cause = Cause.CRASH) -> ev.Exited:
    return ev.Exited(at, "app", 1, serial, code, None, cause, jitter)


def crashes(count: int) -> list[ev.Event]:
    """So many crashes, one second apart, the last at count - 1."""
    return [fact for n in range(count) for fact in (spawned(n, n), ready(n, n), crashed(n, n))]


def world_of(groups: tuple[Group, ...] = POOL, instances: int = 4, **fields: object) -> World:
    groups = tuple(
        Group("default", "pool", template="template", after=group.after, instances=instances, max_memory_bytes=100)
        if group.name == "default"
        else group
        for group in groups
    )
    return World(groups, **fields).run(3)
