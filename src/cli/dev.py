"""`workerctl dev`: the supervisor in this terminal, its logs, and fresh workers whenever a file changes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..contract import NotRunning, WorkerctlError
from .common import loaded, say

if TYPE_CHECKING:
    from ..settings import Loaded
    from .dev_watch import Snapshot

POLL_SECONDS = 0.5
KEPT_CHANGES = 3  # named in the line that says what changed


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("dev")(dev)


def dev() -> None:
    """Run in the foreground, renew the workers when a file changes. Shows the logs; Ctrl-C stops everything.

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
                self._renew()
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
            self._prepare()
            self._print_logs()
            with Waiting() as waiting:
                self._process = waiting.begin(lambda: launch.start_in_background(self._found.home))
                status = launch.wait_until_up(self._found.home, self._process, lambda _status: None)
        except WorkerctlError as error:
            self._process = None
            say(f"{error}; waiting for a change")
            return
        ready = sum(team["ready"] for team in status["pools"])
        say(f"{ready} workers ready; watching {', '.join(map(_short, self._folders))}")

    def _prepare(self) -> None:
        """Write what the supervisor reads. Raises WorkerctlError, mostly Unusable."""
        from msgspec.structs import replace

        from ..supervisor.composition import save_composition
        from . import launch

        self._found = loaded()
        composition = launch.prepare(self._found, instances=None, only=(), foreground=False)
        policy = replace(composition.policy, probation_seconds=0.0)  # whoever looks on is the probation
        save_composition(replace(composition, policy=policy), self._found.home / "run" / "composition.json")

    def _renew(self) -> None:
        """Fresh workers of the code on disk; what does not serve costs none of those that run."""
        from .releases import ask_for_reload, follow

        if self._process is None:
            self._start()
            return
        since = time.monotonic()
        try:
            self._found = loaded()
            asked = ask_for_reload(self._found, None)
            if not asked.needs_restart:
                for _ in follow(self._found.home, asked.number):
                    pass
        except WorkerctlError as error:  # its further lines are those that the log shows anyway
            say(f"{str(error).splitlines()[0]}; the workers that run stay, waiting for a change")
            return
        if asked.needs_restart:
            say(f"{', '.join(asked.needs_restart)}: that needs a stop and a start")
            self._stop()
            self._start()
        else:
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

    @property
    def _folders(self) -> tuple[str, ...]:
        from ..settings.pools import folders_of

        return folders_of(self._found.settings.pools.values())

    def _snapshot(self) -> Snapshot:
        from .dev_watch import snapshot

        config = [self._found.config_path] if self._found.config_path else []
        return snapshot(self._folders, config, self._found.home)

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
        if line.group == "supervisor" and line.text.startswith("event "):
            continue  # `logs -f` has them; here they would bury what the handlers say
        sys.stdout.write(_text_line(line))
        sys.stdout.flush()


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
