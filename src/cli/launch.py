"""Starts a supervisor for a home: writes what it and its children read, execs it, waits until it stands."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from ..broker.found import configured, database_file
from ..contract import AlreadyRunning, Exit, NotRunning, Unusable, WorkerctlError
from ..location import project_folder
from ..settings import Loaded, Settings, cgroup, dump
from ..settings.cores import machine_cores, resolve_instances
from ..supervisor.client import request
from ..supervisor.composition import Composition, save_composition
from ..supervisor.state import load_desired, load_outcome, save_desired, write_atomically
from .ahead import Ahead
from .compose import Plan, auto_pools, check_connections, compose, fit_connections

if TYPE_CHECKING:
    from ..broker.embedded import Server

POLL_SECONDS = 0.02
SHOWN_EVERY_SECONDS = 0.1


class StartFailed(WorkerctlError):
    """The supervisor ended, or nothing of it became ready; the exit code is its own."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = Exit(exit_code) if exit_code in set(Exit) else Exit.FAILED


def refuse_second(home: Path) -> None:
    """Raises AlreadyRunning where a supervisor answers in this home."""
    try:
        running = request(home, "status", sizes=False)
    except NotRunning:
        return
    pid = running["status"]["supervisor"]["pid"]
    raise AlreadyRunning(_already_running(pid, home))


def prepare(loaded: Loaded, *, instances: int | str | None, only: tuple[str, ...], foreground: bool) -> Composition:
    """Write run/settings.json, run/database.json and run/composition.json. Raises Unusable.

    As root with a configured `user` this process is that user from here on, and so is all that it starts.
    """
    home = loaded.home
    if loaded.settings.supervisor.user is not None:
        from .identity import settle

        settle(loaded)
    _refuse_foreign_files(home)
    _make_folders(home)
    settings, server = _with_database(loaded.settings, home)
    if server is not None and server.notice:
        sys.stderr.write(f"{server.notice}\n")
    cores = machine_cores()
    plan = Plan(
        settings=settings,
        home=home,
        project=project_folder(loaded.config_path, Path.cwd()),
        config=loaded.config_path,
        node_id=_node_id(home),
        host=socket.gethostname(),
        cores=cores,
        embedded=server,
        foreground=foreground,
        only=only,
        memory_cgroups=tuple(map(str, cgroup.folders(cgroup.ROOT, cgroup.own_membership(), "memory"))),
    )
    composition = compose(plan)
    shutil.rmtree(home / "run" / "releases", ignore_errors=True)  # of reloads in an earlier supervisor's life
    kept = load_desired(home)
    desired = dict(kept)
    if instances is not None:
        desired["default"] = resolve_instances(instances, len(cores), plan.reserved_cores)  # type: ignore[arg-type]
    composition, desired = _fitted(composition, desired, settings, is_auto=isinstance(instances, str))
    if desired != kept:
        save_desired(home, desired)
    dump(settings, home / "run" / "settings.json")
    database = configured(settings)
    assert database is not None
    write_atomically(database_file(home), msgspec.json.encode(database), durable=False)
    save_composition(composition, home / "run" / "composition.json")
    return composition


def _fitted(
    composition: Composition, desired: dict[str, int], settings: Settings, *, is_auto: bool
) -> tuple[Composition, dict[str, int]]:
    """What connection_limit has room for; what was not a number of the user's own is made smaller, and that is said."""
    flexible = auto_pools(settings, desired) | ({"default"} if is_auto else frozenset())
    composition, note = fit_connections(composition, desired, flexible)
    if note is not None:
        sys.stderr.write(f"note: {note}\n")
        fitted = {group.name: group.instances for group in composition.groups if group.name in flexible}
        desired = desired | {name: count for name, count in fitted.items() if name in desired}
    check_connections(composition, desired)
    return composition, desired


def supervisor_command(home: Path) -> list[str]:
    """What runs this home's composition."""
    return [sys.executable, "-m", "workerctl.supervisor", "--composition", str(home / "run" / "composition.json")]


def start_in_background(home: Path) -> subprocess.Popen[bytes]:
    """A supervisor for what `prepare` wrote."""
    return Ahead().start(home)


def wait_until_up(
    home: Path, process: subprocess.Popen[bytes], on_status: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """The status once the supervisor is running or degraded. Raises StartFailed with its last words."""
    assert process.stdout is not None
    with process.stdout as end:
        return _wait_until_up(home, process, [end], on_status)


def _wait_until_up(
    home: Path, process: subprocess.Popen[bytes], telling: list[IO[bytes]], on_status: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    while True:
        code = process.poll()
        if code is not None:
            if code == Exit.ALREADY_RUNNING:  # another start was faster
                raise AlreadyRunning(_already_running((home / "run" / "lock").read_text().strip(), home))
            outcome = load_outcome(home) or {}
            message = outcome.get("message") or f"the supervisor ended with {code}; see {home}/logs/supervisor.log"
            raise StartFailed(message, code)
        try:
            status: dict[str, Any] = request(home, "status", sizes=False)["status"]
        except WorkerctlError:
            time.sleep(POLL_SECONDS)  # it has not come so far yet, or has just ended
            continue
        on_status(status)
        if status["supervisor"]["pid"] == process.pid and status["supervisor"]["state"] in ("running", "degraded"):
            return status
        if select.select(telling, [], [], SHOWN_EVERY_SECONDS)[0]:
            telling = []  # it has booted: that is said once


def _already_running(pid: object, home: Path) -> str:
    return f"already running as pid {pid} in {home}; see `workerctl status`"


def _with_database(settings: Settings, home: Path) -> tuple[Settings, Server | None]:
    if settings.database_url is not None:
        return settings, None
    from ..broker.embedded import plan_server

    server = plan_server(home, Path(settings.postgres_bin) if settings.postgres_bin else None)
    return msgspec.structs.replace(settings, database_url=server.url), server


def _refuse_foreign_files(home: Path) -> None:
    """Raises Unusable where another user, such as root, has started in this home and left files of its own."""
    for folder in (home / "run", home / "state", home / "logs"):
        for path in (folder, *folder.glob("*")):
            if path.exists() and not os.access(path, os.R_OK | os.W_OK):
                raise Unusable(f"{path} belongs to uid {path.stat().st_uid}: chown -R {home}, or give another --home")


def _make_folders(home: Path) -> None:
    """Raises Unusable where there can be no home."""
    for folder in (home, home / "run", home / "state", home / "logs"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            reason = f"{folder} cannot be made: {error.strerror}"
            raise Unusable(f"{reason}; the home is written to, give another --home or WORKERCTL_HOME") from None


def _node_id(home: Path) -> str:
    """This home's name in the fleet; a new one where the home has been copied, since the other may be running."""
    path, here = home / "node.json", _machine(home)
    try:
        known = json.loads(path.read_text())
        if known.get("machine", here) == here:
            return str(known["id"])
        sys.stderr.write(f"note: {home} was on another machine, or in another folder: it is a new node from here on\n")
    except (OSError, ValueError, KeyError, AttributeError):
        pass
    node_id = str(uuid.uuid4())
    write_atomically(path, json.dumps({"id": node_id, "machine": here}).encode())
    return node_id


def _machine(home: Path) -> str:
    """What a copy of this home differs in, mostly; where it does not, the database refuses the second.

    Not the host's name: a container that is made anew has another, and is to give back at once what the last one held.
    """
    try:
        machine = Path("/etc/machine-id").read_text().strip()
    except OSError:
        machine = ""
    return f"{machine} {home.resolve()}"
