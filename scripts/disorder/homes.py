"""Two homes on one database: start them, find who runs in them, start them again, stop them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from workerctl.contract import NotRunning
from workerctl.supervisor.client import request

HANDLERS = Path(__file__).resolve().parent / "jobs"
WORKERCTL = Path(sys.executable).parent / "workerctl"
WORKERS = 4
COMMAND_SECONDS = 120.0
ANSWER_SECONDS = 0.5

KIND_LIMIT = 5
USER_LIMIT = 2
CONFIG = f"""
connection_limit = 60
[jobs]
modules = ["chaos_kinds"]
path = [{json.dumps(str(HANDLERS))}]
shipped = false
retry_delay = "100ms"
lease = "16s"
[limits]
limited = {KIND_LIMIT}
"user:{{user_id}}" = {USER_LIMIT}
[schedule.tick]
cron = "* * * * * *"
kind = "tick"
missed = "all"
"""


class Home:
    """One node: a project folder with its home below. Node 1 has the embedded PostgreSQL."""

    def __init__(self, folder: Path, records: Path, database_url: str | None, config: str = CONFIG) -> None:
        self.folder = folder
        self.home = folder / ".workerctl"
        self._environment = {**os.environ, "CHAOS_RECORDS": str(records),
                             "WORKERCTL_STORAGE__URL": f"file://{records.parent}/storage"}  # fmt: skip
        if database_url is not None:
            self._environment["DATABASE_URL"] = database_url
        self._starting: subprocess.Popen[str] | None = None
        folder.mkdir()
        (folder / "workerctl.toml").write_text(config)

    def begin_start(self) -> None:
        """Type `workerctl start`; `is_starting` says when it has ended."""
        with (self.folder / "start.log").open("a") as log:
            self._starting = subprocess.Popen(
                [WORKERCTL, "start", "--instances", str(WORKERS)], cwd=self.folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip

    @property
    def is_starting(self) -> bool:
        return self._starting is not None and self._starting.poll() is None

    def started(self) -> None:
        """Wait for the end of `begin_start`. Raises RuntimeError where it failed."""
        assert self._starting is not None
        if self._starting.wait(COMMAND_SECONDS) != 0:
            raise RuntimeError(f"`workerctl start` failed: {(self.folder / 'start.log').read_text().strip()}")

    def command(self, *words: str) -> int:
        """The exit code of a command of ours."""
        with (self.folder / "start.log").open("a") as log:
            return subprocess.run([WORKERCTL, *words], cwd=self.folder, env=self._environment, check=False,
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  timeout=COMMAND_SECONDS).returncode  # fmt: skip

    def stop(self) -> None:
        """An ordinary `workerctl stop`. Raises RuntimeError where it failed."""
        done = subprocess.run([WORKERCTL, "stop"], cwd=self.folder, env=self._environment, check=False,
                              capture_output=True, text=True, timeout=COMMAND_SECONDS)  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"`workerctl stop` failed: {done.stderr.strip()}")

    def is_running(self) -> bool:
        with contextlib.suppress(NotRunning):
            return bool(self._status())
        return False

    def victims(self, target: str) -> list[psutil.Process]:
        """The processes of this home that serve as `target`, each proved to be of this home. Raises NotRunning."""
        if target == "machine":
            return self.everything()
        status = self._status()
        pids = {"supervisor": [status["supervisor"]["pid"]]}
        pids["worker"] = [worker["pid"] for pool in status["pools"] for worker in pool["workers"]]
        pids["sleeper"] = pids["worker"]
        for role in status["roles"]:
            pids[role["name"]] = [process["pid"] for process in role["processes"]]
        if target == "backend":
            return [child for process in self._proved(pids["postgres"]) for child in process.children()]
        return self._proved(pids[target])

    def everything(self) -> list[psutil.Process]:
        """Every process that is proved to be of this home."""
        return self._proved(psutil.pids())

    def _proved(self, pids: list[int | None]) -> list[psutil.Process]:
        found = []
        for pid in pids:
            with contextlib.suppress(psutil.Error, OSError):
                if pid is not None and self._is_ours(process := psutil.Process(pid)):
                    found.append(process)
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether it knows this home by command line, working folder or an open file."""
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        place = f"{self.folder}/"
        if any(place in f"{word}/" for word in (*process.cmdline(), process.cwd())):
            return True
        return any(str(link).startswith(place) for link in _links(process.pid))

    def _status(self) -> dict[str, Any]:
        document: dict[str, Any] = request(self.home, "status", timeout_seconds=ANSWER_SECONDS)["status"]
        return document


def _links(pid: int) -> Iterator[Path]:
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            yield path.readlink()
