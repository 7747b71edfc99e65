"""A project folder with a running supervisor, and terminals of tmux to look into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WORKERCTL = Path(sys.executable).with_name("workerctl")
PATIENCE_SECONDS = 60.0
JOBS = """\
import sys
import time
from pathlib import Path

from workerctl import job

GREETING = "hello"


@job("greet")
def greet(payload: dict) -> str:
    print(f"{GREETING} {payload['name']}", flush=True)
    return GREETING


@job("gated")
def gated(payload: dict) -> None:
    print("began", flush=True)
    deadline = time.monotonic() + 60
    while not Path(payload["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
"""
CONFIG = '[supervisor]\ninstances = 2\nreserved_cores = 0\n[jobs]\nmodules = ["greetings"]\nshipped = false\n'


class Terminal:
    """One tmux session that runs one command."""

    def __init__(self, command: str, folder: Path, columns: int, rows: int) -> None:
        self._socket = f"wt-{uuid.uuid4().hex[:8]}"
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder),
                   f"exec env LC_ALL=C.UTF-8 TERM=screen-256color {command}")  # fmt: skip

    def screen(self, *, history: bool = False) -> str:
        """What stands on the screen; empty once the command has ended."""
        return self._tmux("capture-pane", "-p", *(["-S", "-2000"] if history else []), check=False).stdout

    def type(self, keys: str) -> None:
        self._tmux("send-keys", keys)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def is_open(self) -> bool:
        return self._tmux("list-sessions", check=False).returncode == 0

    def until(self, text: str, *, history: bool = False) -> str:
        """The screen once `text` stands on it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in (shown := self.screen(history=history)):
            assert time.monotonic() < deadline, f"{text!r} is not on the screen:\n{shown}"
            time.sleep(0.05)
        return shown

    def until_closed(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.is_open:
            assert time.monotonic() < deadline, f"still open:\n{self.screen()}"
            time.sleep(0.05)

    def close(self) -> None:
        self._tmux("kill-server", check=False)

    def _tmux(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["tmux", "-L", self._socket, *arguments]
        environ = os.environ | {"LC_ALL": "C.UTF-8"}
        return subprocess.run(command, capture_output=True, encoding="utf-8", check=check, env=environ)


def run(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """One command of ours in a project folder; with `check` it must succeed."""
    done = subprocess.run(
        [WORKERCTL, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    return run


def _project(template_home: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))  # short enough for a unix socket
    folder.chmod(0o755)
    subprocess.run(["cp", "-a", template_home, folder / ".workerctl"], check=True)
    with (folder / ".workerctl" / "postgres" / "data" / "postgresql.auto.conf").open("a") as settings:
        settings.write("fsync = off\n")  # what was written outlives a killed server all the same
    (folder / "workerctl.toml").write_text(CONFIG)
    (folder / "greetings.py").write_text(JOBS)
    return folder


@pytest.fixture
def project(template_home: Path) -> Iterator[Path]:
    """A folder in which nothing runs, its database initialised; whatever is started in it is stopped."""
    folder = _project(template_home)
    yield folder
    run(folder, "stop", "--now", check=False)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def running(template_home: Path) -> Iterator[Path]:
    """A folder whose supervisor runs two workers."""
    folder = _project(template_home)
    try:
        run(folder, "start")
        yield folder
    finally:
        run(folder, "stop", "--now", check=False)
        shutil.rmtree(folder)


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Opens a terminal: `terminal(folder, "top")`; closed at the end."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux here")
    opened: list[Terminal] = []

    def open_terminal(folder: Path, words: str, columns: int = 80, rows: int = 24) -> Terminal:
        opened.append(Terminal(f"{WORKERCTL} {words}", folder, columns, rows))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()
