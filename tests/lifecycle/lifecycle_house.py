"""A home of workerctl with its own project folder: what the lifecycle tests start, ask, kill and clean away."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import psycopg

from workerctl.broker.jobs import show_job
from workerctl.contract import NotRunning
from workerctl.producer import enqueue, enqueue_many
from workerctl.supervisor.client import request

Found = TypeVar("Found")

WORKERCTL = Path(sys.executable).with_name("workerctl")
KINDS = Path(__file__).with_name("lifecycle_kinds.py")
BAD_KINDS = Path(__file__).with_name("lifecycle_bad_kinds.py")
PATIENCE_SECONDS = 30.0
HURRIED_SECONDS = 25.0  # on a busy machine too; who is not hurried waits 30 s (`stop_timeout`) for a job

CONFIG = """
[jobs]
modules = ["kinds"]
shipped = false
retry_delay = "100ms"
"""


def until(condition: Callable[[], Found], seconds: float = PATIENCE_SECONDS, *, what: str = "") -> Found:
    """What `condition` gives once it is true; fails when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(0.01)
    return found


class House:
    """One project folder with its home below; every command runs in it."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.folder = folder
        self.home = folder / ".workerctl"
        self.environ = dict(os.environ)
        self.command_seconds = 90.0  # what the slowest command may take
        self.launched: list[subprocess.Popen[str]] = []
        self.orphaned = False  # its supervisor was killed, and no later one has taken over
        self.configure(config)
        shutil.copy(KINDS, folder / "kinds.py")
        shutil.copy(BAD_KINDS, folder / "bad.py")

    def configure(self, text: str) -> None:
        (self.folder / "workerctl.toml").write_text(text)

    # Commands

    def run(self, *arguments: object, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """One command to its end, output caught."""
        return subprocess.run(
            [WORKERCTL, *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=self.command_seconds,
            cwd=self.folder,
            env=self.environ | environ,
            check=False,
        )

    def ok(self, *arguments: object, **keywords: str) -> str:
        """The output of a command that must succeed."""
        done = self.run(*arguments, **keywords)
        assert done.returncode == 0, f"workerctl {arguments}: {done.returncode}\n{done.stdout}{done.stderr}{self.log()}"
        return done.stdout

    def json(self, *arguments: object) -> Any:
        return json.loads(self.ok(*arguments, "--json"))

    def launch(self, *arguments: object, **environ: str) -> subprocess.Popen[str]:
        """A command that goes on; ended with the house."""
        process = subprocess.Popen(
            [WORKERCTL, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environ | environ,
            start_new_session=True,
        )
        self.launched.append(process)
        return process

    def start(self, instances: int = 2, *arguments: object) -> str:
        table = self.ok("start", "--instances", instances, *arguments)
        self.orphaned = False
        return table

    def fails(self, code: int, *arguments: object, **keywords: str) -> str:
        """The one line with which a command ends that must fail with this code."""
        done = self.run(*arguments, **keywords)
        assert done.returncode == code, f"{arguments}: {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
        lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
        notices = [line for line in lines if line.startswith("running as root: PostgreSQL")]
        lines = [line for line in lines if line not in notices]
        assert len(lines) == 1, f"more than one line: {done.stderr}"
        return lines[0]

    # The supervisor

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = request(self.home, "status")["status"]
        return document

    def workers(self, pool: str = "default") -> list[dict[str, Any]]:
        """Slots in which a process sits."""
        [team] = [team for team in self.status()["pools"] if team["name"] == pool]
        return [worker for worker in team["workers"] if worker["pid"] is not None]

    def ready(self, pool: str = "default") -> list[dict[str, Any]]:
        return [worker for worker in self.workers(pool) if worker["phase"] == "ready"]

    def role(self, name: str) -> int | None:
        """The pid of a role's process that is ready."""
        [team] = [team for team in self.status()["roles"] if team["name"] == name]
        process = team["processes"][0]
        return process["pid"] if process["phase"] == "ready" else None

    @property
    def supervisor_pid(self) -> int:
        pid: int = self.status()["supervisor"]["pid"]
        return pid

    def is_running(self) -> bool:
        with contextlib.suppress(NotRunning):
            self.status()
            return True
        return False

    def until_ready(self, count: int) -> list[dict[str, Any]]:
        until(lambda: len(self.ready()) == count and len(self.workers()) == count, what=f"{count} workers ready")
        return self.ready()

    def exits(self, group: str = "default") -> list[dict[str, Any]]:
        """What is recorded of processes that ended."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.home / "state" / "exits.jsonl").read_text().splitlines()
            return [record for record in map(json.loads, lines) if record["group"] == group]
        return []

    def log(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.home / "logs" / "supervisor.log").read_text()
        return ""

    def kill_supervisor(self) -> None:
        """As the kernel would: what it leaves is for the next start to clear."""
        self.orphaned = True
        os.kill(self.supervisor_pid, signal.SIGKILL)

    # The queue

    @contextlib.contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        url = json.loads((self.home / "run" / "database.json").read_text())["url"]
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection

    def enqueue(self, kind: str, **payload: Any) -> int:
        with self.database() as connection:
            return enqueue(kind, payload, conn=connection)

    def enqueue_all(self, kind: str, payloads: list[dict[str, Any]]) -> list[int]:
        with self.database() as connection:
            return enqueue_many([(kind, payload) for payload in payloads], conn=connection)

    def job(self, job_id: int) -> dict[str, Any]:
        with self.database() as connection:
            return show_job(connection, job_id)

    def until_status(self, job_id: int, status: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        def reached(connection: psycopg.Connection[Any]) -> dict[str, Any] | None:
            job = show_job(connection, job_id)
            return job if job["status"] == status else None

        return self.until_database(reached, seconds, what=f"job {job_id} is {status}")

    def until_database(
        self, question: Callable[[psycopg.Connection[Any]], Found], seconds: float, *, what: str
    ) -> Found:
        """As `until`, by one connection, and another one where its server is started again meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(psycopg.OperationalError), self.database() as connection:
                return until(lambda: question(connection), deadline - time.monotonic(), what=what)
            assert time.monotonic() < deadline, f"no database for {seconds:g} s: {what}"
            time.sleep(0.01)

    # Side effects

    @property
    def effects(self) -> Path:
        return self.folder / "effects"

    @property
    def gate(self) -> Path:
        return self.folder / "gate"

    def open_gate(self) -> None:
        self.gate.touch()

    def noted(self, word: str, job_id: int | None = None) -> list[list[str]]:
        """Lines that handlers wrote: [word, job, attempt, pid, time]."""
        with contextlib.suppress(FileNotFoundError):
            lines = [line.split() for line in self.effects.read_text().splitlines()]
            return [line for line in lines if line[0] == word and job_id in (None, int(line[1]))]
        return []

    def gated(self, kind: str = "gated", **more: Any) -> int:
        """A job that has begun and runs until the gate is opened."""
        job_id = self.enqueue(kind, file=str(self.effects), gate=str(self.gate), **more)
        until(lambda: self.noted("began", job_id), what=f"{kind} begins")
        return job_id

    # The end

    def entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The home and all in it, each with its lstat; what goes meanwhile, as PostgreSQL's files do, is left out."""
        for folder, folders, files in os.walk(self.home):
            for path in (Path(folder), *(Path(folder, name) for name in (*folders, *files))):
                with contextlib.suppress(FileNotFoundError):
                    yield path, path.lstat()

    def left_over(self) -> list[psutil.Process]:
        """Processes that know this home: by environment, command line, working folder or an open file."""
        return [process for process in psutil.process_iter() if self._knows_home(process)]

    def titled(self, role: str) -> list[psutil.Process]:
        """Processes of this home that call themselves so."""
        found = []
        for process in self.left_over():
            with contextlib.suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith(f"workerctl: {role}"):
                    found.append(process)
        return found

    def _knows_home(self, process: psutil.Process) -> bool:
        home = str(self.home)
        if process.pid == os.getpid():
            return False
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            descriptors = Path(f"/proc/{process.pid}/fd")
            places = [*process.cmdline(), process.environ().get("WORKERCTL_HOME", ""), process.cwd()]
            places += [str(path.readlink()) for path in descriptors.iterdir()]
            return any(home in place for place in places)
        return False

    def assert_nothing_runs(self) -> None:
        until(lambda: not self.left_over(), 10, what=f"nothing of {self.home} runs, but {self.left_over()} does")

    def clean(self) -> None:
        """End everything; fails where something had outlived an ordinary stop."""
        self.open_gate()
        with contextlib.suppress(NotRunning):
            request(self.home, "stop", now=True)
            until(lambda: not self.is_running(), 15, what="the supervisor stops now")
        for process in self.launched:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=self.command_seconds)
        try:
            if not self.orphaned:
                self.assert_nothing_runs()
        finally:
            for process in self.left_over():
                with contextlib.suppress(psutil.Error):
                    process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
