"""The real things that are measured: a PostgreSQL, supervisors in homes of their own, what their logs say."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psutil
import psycopg

from workerctl.broker.embedded import STOP_SIGNAL, Server, plan_server
from workerctl.contract import NotRunning
from workerctl.supervisor.client import request
from workerctl.supervisor.lock import is_held

Found = TypeVar("Found")

HANDLERS = Path(__file__).resolve().parent / "jobs"
COMMAND_SECONDS = 90.0
CONNECTION_LIMIT = 40  # for twice as many workers than the default is meant for
_numbers = itertools.count(1)


class CommandFailed(Exception):
    """A command of ours that should have worked did not."""


class TooLate(Exception):
    """What was waited for did not come."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """The PostgreSQL that all measurements share, with a database for each."""

    server: Server
    pid: int

    def version(self) -> str:
        with psycopg.connect(self.server.url) as connection:
            return str(connection.info.parameter_status("server_version"))

    @contextlib.contextmanager
    def fresh_database(self) -> Iterator[str]:
        """The URL of an empty database, dropped afterwards."""
        name = f"bench_{next(_numbers)}"
        self.by_superuser(f"CREATE DATABASE {name} OWNER workerctl")
        try:
            yield urlsplit(self.server.url)._replace(path=f"/{name}").geturl()
        finally:
            self.by_superuser(f"DROP DATABASE {name} WITH (FORCE)")

    def checkpoint(self) -> None:
        """Write out what earlier measurements left, so that it does not cost the next one."""
        self.by_superuser("CHECKPOINT")

    def cpu_seconds(self) -> float:
        """CPU time of the server and all its processes, those that have ended included."""
        postmaster = psutil.Process(self.pid)
        ended = postmaster.cpu_times().children_user + postmaster.cpu_times().children_system
        return ended + cpu_seconds([self.pid, *(child.pid for child in postmaster.children(recursive=True))])

    def by_superuser(self, statement: str) -> None:
        with psycopg.connect(self.server.superuser_url, autocommit=True) as connection:
            connection.execute(statement.encode())


@dataclass(frozen=True, slots=True)
class Scene:
    """What every measurement gets: a folder on the disk that is measured, the server, how often to repeat."""

    folder: Path
    server: RunningServer
    runs: int

    @contextlib.contextmanager
    def house(
        self,
        database_url: str | None,
        limits: dict[str, int] | None = None,
        logs: dict[str, float] | None = None,
        **jobs: int,
    ) -> Iterator[House]:
        """A home of its own, not started, with these keys of its tables. Whatever runs in it afterwards is stopped."""
        house = House(self.folder / f"house-{next(_numbers)}", database_url)
        house.write_config(jobs, limits or {}, logs or {})
        try:
            yield house
        finally:
            house.end()


class House:
    """One home: starts, stops and asks the supervisor in it."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        self.folder = folder
        self.home = folder / ".workerctl"
        self._environment = dict(os.environ)
        if database_url is not None:
            self._environment["DATABASE_URL"] = database_url

    def write_config(self, jobs: dict[str, int], limits: dict[str, int], logs: dict[str, float]) -> None:
        self.folder.mkdir()
        keys = {"modules": ["bench_jobs"], "path": [str(HANDLERS)], **jobs}
        lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
        lines += ["[limits]", *(f"{json.dumps(name)} = {most}" for name, most in limits.items())]
        lines += ["[logs]", *(f"{name} = {value}" for name, value in logs.items())]
        content = [f"connection_limit = {CONNECTION_LIMIT}", "[jobs]", *lines, ""]
        (self.folder / "workerctl.toml").write_text("\n".join(content))

    def set(self, name: str, value: str) -> None:
        """An environment variable of every later command."""
        self._environment[name] = value

    def command(self, *words: str) -> float:
        """Run `workerctl WORDS` as a whole process; its seconds. Raises CommandFailed, TimeoutExpired."""
        since = time.perf_counter()
        done = subprocess.run(
            [str(Path(sys.executable).parent / "workerctl"), *words], cwd=self.folder, env=self._environment,
            check=False, capture_output=True, text=True, timeout=COMMAND_SECONDS,
        )  # fmt: skip
        seconds = time.perf_counter() - since
        if done.returncode != 0:
            last_words = (done.stderr.strip() or "no word").splitlines()[-1]
            raise CommandFailed(f"workerctl {' '.join(words)} ended with {done.returncode}: {last_words}")
        return seconds

    def start(self, instances: int) -> float:
        """Seconds of `workerctl start` until every worker is ready."""
        return self.command("start", "--instances", str(instances))

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """One request to the supervisor."""
        return request(self.home, command, **arguments)

    def pids(self) -> dict[str, list[int]]:
        """Who is alive: `supervisor`, `workers`, and each role by its name."""
        status = self.ask("status")["status"]
        found = {"supervisor": [status["supervisor"]["pid"]]}
        found["workers"] = [worker["pid"] for pool in status["pools"] for worker in pool["workers"] if worker["pid"]]
        for role in status["roles"]:
            found[role["name"]] = [process["pid"] for process in role["processes"] if process["pid"]]
        return found

    def log_size(self) -> int:
        return (self.home / "logs" / "supervisor.log").stat().st_size

    def worker_events(self, name: str, offset: int = 0) -> list[tuple[float, str]]:
        """(epoch seconds, whole line) of each event of this name that the supervisor logged of a worker after `offset`
        bytes; the template's spare becomes ready just after `start` has returned.
        """
        with (self.home / "logs" / "supervisor.log").open("rb") as log:
            log.seek(offset)
            content = log.read()
        lines = content[: content.rfind(b"\n") + 1].decode(errors="replace").splitlines()
        return [(_epoch(line.split(" ", 1)[0]), line) for line in lines if f" event {name} slot=default/" in line]

    def end(self) -> None:
        """Stop what runs here, killing what it has in hand."""
        with contextlib.suppress(NotRunning):
            self.ask("stop", now=True)
            wait_until(lambda: not is_held(self.home / "run"), COMMAND_SECONDS, "the supervisor's end")


@contextlib.contextmanager
def database_server(folder: Path, **environment: str) -> Iterator[RunningServer]:
    """An embedded PostgreSQL with the product's own settings, below this folder."""
    server = plan_server(folder / "server")
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(server.command, stdout=log, stderr=log, start_new_session=True,
                                   env=os.environ | environment)  # fmt: skip
    try:
        wait_until(lambda: subprocess.run(server.probe_command, check=False).returncode == 0, 60, "PostgreSQL")
        yield RunningServer(server, process.pid)
    finally:
        process.send_signal(STOP_SIGNAL)
        process.wait(timeout=60)


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of these processes; one that has just ended counts as nothing."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def run_seconds(pid: int) -> float:
    """CPU time of all threads of a process to the nanosecond: the clock tick of `cpu_seconds` is 10 ms."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def wait_until(
    condition: Callable[[], Found | None], seconds: float, what: str, *, every_seconds: float = 0.02
) -> Found:
    """The first true answer of `condition`. Raises TooLate."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TooLate(f"waited {seconds:g} s for {what}")
        time.sleep(every_seconds)


def _epoch(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()
