"""`workerctl dev`: the supervisor in this terminal, its logs, and fresh workers whenever a file changes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..contract import ENV_SETTINGS, NotRunning, WorkerctlError
from .common import loaded, say

if TYPE_CHECKING:
    from ..settings import Loaded
    from .dev_watch import Snapshot

POLL_SECONDS = 0.5
RENEW_SECONDS = 60.0  # for a template to import the new code
KEPT_CHANGES = 3  # named in the line that says what changed


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("dev")(dev)


def dev() -> None:
    """Run in the foreground, show the logs, renew the workers when a file changes; Ctrl-C stops everything.

    Example: workerctl dev
    """
    from . import launch

    launch.refuse_second(loaded().home)
    session = _Session()
    with _interrupts():
        try:
            session.run()
        except KeyboardInterrupt:
            say("stopping; Ctrl-C again to stop at once")
        finally:
            session.end()
    say("stopped")


class _Session:
    """What `dev` started: the supervisor, while there is one, and the thread that prints the logs."""

    def __init__(self) -> None:
        self._found: Loaded = loaded()
        self._process: subprocess.Popen[bytes] | None = None
        self._over = threading.Event()
        self._printer: threading.Thread | None = None

    def run(self) -> None:
        """Until interrupted. Code or a configuration that cannot work is told, and waits for the next change."""
        seen = self._snapshot()
        self._start()
        while True:
            time.sleep(POLL_SECONDS)
            changed, seen = self._settled_changes(seen)
            if changed:
                more = f" and {len(changed) - KEPT_CHANGES} more" if len(changed) > KEPT_CHANGES else ""
                say(f"changed: {', '.join(map(_short, changed[:KEPT_CHANGES]))}{more}")
                self._renew(config_changed=str(self._found.config_path) in changed)
            elif self._process is not None and self._process.poll() is not None:
                self._process = None
                say("the supervisor has ended, see above; it starts again when a file changes")

    def end(self) -> None:
        """Stop what runs and print what it still says."""
        try:
            self._stop()
        finally:
            self._over.set()
            if self._printer is not None:
                self._printer.join()

    def _start(self) -> None:
        from . import launch
        from .waiting import Waiting

        try:
            self._found = loaded()
            launch.prepare(self._found, instances=None, only=(), foreground=False)
            self._print_logs()
            with Waiting() as waiting:
                self._process = waiting.begin(lambda: launch.start_in_background(self._found.home))
                status = launch.wait_until_up(self._found.home, self._process, lambda _status: None)
        except WorkerctlError as error:
            self._process = None
            say(f"{error}; waiting for a change")
            return
        ready = sum(team["ready"] for team in status["pools"])
        say(f"{ready} workers ready; watching {', '.join(map(_short, self._found.settings.jobs.path))}")

    def _renew(self, *, config_changed: bool) -> None:
        """Fresh workers of the code on disk; what cannot be imported costs none of those that run."""
        since = time.monotonic()
        if self._process is None or config_changed:
            self._stop()
            self._start()
            return
        if not _can_be_imported(self._found.home):
            say("the workers that run stay; waiting for a change")
            return
        try:
            _restart(self._found.home)
        except WorkerctlError as error:
            say(f"{error}; waiting for a change")
            return
        say(f"renewed in {time.monotonic() - since:.1f} s")

    def _stop(self) -> None:
        from ..supervisor.client import request
        from ..supervisor.lock import is_held

        if self._process is None:
            return
        with contextlib.suppress(NotRunning):
            request(self._found.home, "stop", now=False)
        while self._process.poll() is None or is_held(self._found.home / "run"):
            try:
                time.sleep(0.05)
            except KeyboardInterrupt:
                with contextlib.suppress(NotRunning):
                    request(self._found.home, "stop", now=True)
        self._process = None

    def _snapshot(self) -> Snapshot:
        from .dev_watch import snapshot

        config = [self._found.config_path] if self._found.config_path else []
        return snapshot(self._found.settings.jobs.path, config, self._found.home)

    def _settled_changes(self, seen: Snapshot) -> tuple[list[str], Snapshot]:
        """What changed, once nothing more does: an editor or git writes many files one after the other."""
        from .dev_watch import changes

        latest = self._snapshot()
        if not changes(seen, latest):
            return [], seen
        while True:
            time.sleep(POLL_SECONDS)
            before, latest = latest, self._snapshot()
            if not changes(before, latest):
                return changes(seen, latest), latest

    def _print_logs(self) -> None:
        if self._printer is None:
            arguments = (self._found.home / "logs", self._over)
            self._printer = threading.Thread(target=_print_new_lines, args=arguments, daemon=True)
            self._printer.start()


def _print_new_lines(directory: Path, over: threading.Event) -> None:
    from ..logs import reader
    from .journal import _text_line

    for line in reader.follow(directory, finished=over.is_set):
        sys.stdout.write(_text_line(line))
        sys.stdout.flush()


def _can_be_imported(home: Path) -> bool:
    """Whether the code on disk can, tried in a process of its own; its traceback goes to stderr."""
    environ = {**os.environ, ENV_SETTINGS: str(home / "run" / "settings.json")}
    return subprocess.run([sys.executable, "-m", "workerctl.cli.dev_check"], env=environ, check=False).returncode == 0


def _restart(home: Path) -> None:
    """A template of the code on disk, then workers of it, one by one. Raises WorkerctlError where it does not come."""
    from ..supervisor.client import request

    before = _template(home)
    request(home, "restart", name="template")
    _wait(lambda: _template(home) not in (None, before), "the template did not come up; see the log")
    began = time.monotonic()
    pools = [team["name"] for team in _status(home)["pools"]]
    for name in pools:
        request(home, "restart", name=name)
    _wait(lambda: _is_fresh(home, time.monotonic() - began), "not every worker was renewed; see `workerctl status`")


def _wait(condition: Any, late: str) -> None:
    deadline = time.monotonic() + RENEW_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise WorkerctlError(late)
        time.sleep(0.05)


def _status(home: Path) -> dict[str, Any]:
    from ..supervisor.client import request

    document: dict[str, Any] = request(home, "status")["status"]
    return document


def _template(home: Path) -> int | None:
    """The pid of the template that serves; None while there is none."""
    for team in _status(home)["roles"]:
        if team["name"] == "template":
            process = team["processes"][0]
            return process["pid"] if process["phase"] == "ready" else None
    return None


def _is_fresh(home: Path, seconds: float) -> bool:
    """Whether every wanted worker serves and is younger than so many seconds."""
    teams = _status(home)["pools"]
    workers = [worker for team in teams for worker in team["workers"] if worker["pid"] is not None]
    young = all(worker["uptime_seconds"] <= seconds + 0.1 and worker["phase"] == "ready" for worker in workers)
    return young and all(team["ready"] == team["desired"] and not team["replacing"] for team in teams)


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


@contextlib.contextmanager
def _interrupts() -> Iterator[None]:
    """SIGTERM and a closed terminal end `dev` as Ctrl-C does."""

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
