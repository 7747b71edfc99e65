"""A new release for a running supervisor: the config read anew, written beside what runs, and handed over."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from .. import __version__
from ..contract import ENV_SETTINGS, NotRunning, WorkerctlError
from ..location import project_folder
from ..settings import Loaded, Settings, dump, restore
from ..settings.cores import machine_cores
from ..supervisor.client import request
from ..supervisor.composition import Composition, load_composition, save_composition
from ..supervisor.state import load_desired
from ..supervisor.states import FAULTS
from .common import refusals_in_a_line
from .compose import Plan, auto_pools, check_connections, compose, fit_connections
from .status_table import last_exit

RESTART_KEYS = ("database_url", "database_url_direct", "database_pooled", "postgres_bin", "connection_limit")
SUPERVISOR_RESTART_KEYS = ("user", "group", "exit_when_all_parked")


@dataclass(frozen=True, slots=True)
class Asked:
    """A reload that the supervisor has accepted."""

    number: int
    pools: list[str]
    others: list[str]
    added: list[str]
    removed: list[str]
    needs_restart: list[str]  # keys that stay as they were


class ReloadFailed(WorkerctlError):
    """The new release does not serve; the old one goes on."""


def ask_for_reload(loaded: Loaded, name: str | None, reason: str | None = None) -> Asked:
    """Write the new release and ask for it. Raises NotRunning, Unusable, Refused; then nothing has changed.

    Where the supervisor is of another version, the schema is brought up to date first; Unreachable is raised too then.
    """
    home = loaded.home
    request(home, "status")  # NotRunning before anything is written
    running = load_composition(home / "run" / "composition.json")
    embedded = any(group.name == "postgres" for group in running.groups)
    started_with = restore(home / "run" / "settings.json")
    settings, needs_restart = as_far_as_possible(started_with, loaded.settings, embedded=embedded)
    folder = _new_folder(home, running)
    dump(settings, folder / "settings.json")
    composition = _composition(loaded, running, settings, folder)
    desired = load_desired(home)
    composition, note = fit_connections(composition, desired, auto_pools(settings, desired))
    if note is not None:
        sys.stderr.write(f"note: {note}\n")
    check_connections(composition, desired)
    if running.version != __version__:
        _migrate(settings)
    path = folder / "composition.json"
    save_composition(composition, path)
    answer = request(home, "reload", composition=str(path), name=name, reason=reason)
    named = {key: answer[key] for key in ("number", "pools", "others", "added", "removed")}
    return Asked(**named, needs_restart=needs_restart)


def _migrate(settings: Settings) -> None:
    """Newer code finds the schema that it needs, as after a start; what older code needs is left to the primary.

    Raises Unreachable, and Unusable where the schema has left this code behind.
    """
    from ..broker.connection import connect
    from ..broker.found import configured
    from ..broker.migrate import migrate

    database = configured(settings)
    assert database is not None  # it runs on one
    url = database.url_direct
    with connect(url, application="cli", bounded=False) as connection, refusals_in_a_line(url):
        for name in migrate(connection):
            sys.stderr.write(f"applied {name}\n")


def as_far_as_possible(old: Settings, new: Settings, *, embedded: bool) -> tuple[Settings, list[str]]:
    """The new settings without what only a restart can change, and the names of those keys. Pure.

    `embedded`: the URL in the old ones is that of our own server, so that none in the new ones is no change.
    """
    kept: dict[str, Any] = {key: getattr(old, key) for key in RESTART_KEYS}
    unnamed = embedded and new.database_url is None
    changed = [
        key for key in RESTART_KEYS if getattr(new, key) != kept[key] and not (unnamed and key == "database_url")
    ]
    fixed = {key: getattr(old.supervisor, key) for key in SUPERVISOR_RESTART_KEYS}
    changed += [f"supervisor.{key}" for key, value in fixed.items() if getattr(new.supervisor, key) != value]
    supervisor = msgspec.structs.replace(new.supervisor, **fixed)
    return msgspec.structs.replace(new, **kept, supervisor=supervisor), changed


def follow(home: Path, number: int, patience_seconds: float = 0.05) -> Iterator[dict[str, Any]]:
    """The status, again and again while this reload is under way. Raises ReloadFailed, NotRunning."""
    while True:
        try:
            document: dict[str, Any] = request(home, "status")["status"]
        except NotRunning:
            raise ReloadFailed("the supervisor has ended during the reload; see `workerctl logs supervisor`") from None
        last = document["supervisor"]["last_reload"]
        if last is not None and last["number"] >= number:
            if last["number"] > number or last["outcome"] == "superseded":
                raise ReloadFailed(f"reload {number} was superseded by a later one")
            if last["outcome"] == "failed":
                raise ReloadFailed(_failure(home, last))
            return
        yield document
        time.sleep(patience_seconds)


def await_news(home: Path, names: Collection[str], since: float, patience_seconds: float = 0.1) -> None:
    """Until every process of these apps and new pools, which a reload has begun since then, is ready.

    Raises ReloadFailed. An app has no canary: two of a program may not fit beside each other, on one port for a start.
    """
    while True:
        document = request(home, "status")["status"]
        elapsed = time.monotonic() - since
        teams = [team for team in (*document["apps"], *document["pools"]) if team["name"] in names]
        processes = [
            (team["name"], each) for team in teams for each in team.get("processes") or team.get("workers", ())
        ]
        for name, each in processes:
            end = each["last_exit"]
            if end and end["cause"] in FAULTS and end["seconds_ago"] < elapsed and each["phase"] != "ready":
                said = end["message"] or last_exit(end)
                raise ReloadFailed(f"{name}/{each['slot']} of the new release: {said}; see `workerctl why {name}`")
        if all(each["phase"] == "ready" and each["uptime_seconds"] <= elapsed for _, each in processes):
            return
        time.sleep(patience_seconds)


def _failure(home: Path, last: dict[str, Any]) -> str:
    """Its own words, above them the last lines that the process wrote."""
    from ..supervisor.last_words import tail

    lines = tail(home, last["group"], last["slot"], last["serial"], 8) if last["group"] else []
    said = "".join(f"  {line}\n" for line in lines)
    return f"{last['message']}; the old release serves on\n{said}".rstrip()


def _composition(loaded: Loaded, running: Composition, settings: Settings, folder: Path) -> Composition:
    """As `start` would compose it; what belongs to the database stays.

    The agent always changes: as a fork of the old template it would keep all of its memory, 34 MB, for itself.
    """
    old = {group.name: group for group in running.groups}
    plan = Plan(
        settings=settings,
        home=loaded.home,
        project=project_folder(loaded.config_path, Path(running.project or Path.cwd())),
        config=loaded.config_path,
        node_id=running.node.id,
        host=running.node.host,
        cores=machine_cores(),
        embedded=None,
        foreground=running.foreground,
        only=running.only,
        settings_file=folder / "settings.json",
        postgres=old.get("postgres"),
    )
    new = compose(plan)
    groups = {group.name: group for group in new.groups} | {"migrate": old["migrate"]}
    return msgspec.structs.replace(
        running,
        groups=tuple(groups.values()),
        release=new.release,
        project=new.project,
        config=new.config,
        reload_command=new.reload_command,
    )


def _new_folder(home: Path, running: Composition) -> Path:
    """run/releases/<n>; those that nothing of the running composition names are removed."""
    releases = home / "run" / "releases"
    releases.mkdir(mode=0o700, exist_ok=True)
    used = {Path(group.env[ENV_SETTINGS]).parent for group in running.groups if ENV_SETTINGS in group.env}
    numbers = sorted(int(folder.name) for folder in releases.iterdir() if folder.name.isdecimal())
    for number in numbers[:-1]:  # the newest may be under way
        if releases / str(number) not in used:
            shutil.rmtree(releases / str(number), ignore_errors=True)
    number = max(numbers, default=1)
    while True:
        number += 1
        try:
            (releases / str(number)).mkdir(mode=0o700)
        except FileExistsError:  # somebody else reloads at the same moment
            continue
        return releases / str(number)
