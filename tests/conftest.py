"""What every test may ask for: one embedded PostgreSQL a session, and an empty database of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from workerctl.broker.connection import connect
from workerctl.broker.embedded import STOP_SIGNAL, Server, plan_server
from workerctl.broker.migrate import migrate
from workerctl.cli import main
from workerctl.contract import ENV_NOVELS

WORKERCTL = Path(sys.executable).with_name("workerctl")
START_SECONDS = 60.0
# The bin folder of another PostgreSQL than the wheel's, for the tests of the queue: how its oldest version is tried.
SERVER_BIN = Path(os.environ["TEST_POSTGRES_BIN"]) if "TEST_POSTGRES_BIN" in os.environ else None

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may find the machine's own PostgreSQL, nor a configuration of the one who runs the tests, nor a terminal's
# size: readline says it to all that pytest starts, its own second process too.
for _name in list(os.environ):
    if (_name.startswith(("PG", "WORKERCTL_")) and _name != ENV_NOVELS) or _name in (
        "DATABASE_URL",
        "DIRECT_URL",
        "SERVICE_TYPE",
        "COLUMNS",
        "LINES",
    ):
        del os.environ[_name]
os.environ["PGHOST"] = "/no-default-server-in-tests"  # else libpq would try the system's socket


@dataclass
class RunningServer:
    """An embedded server that a test started, its process and what it printed."""

    server: Server
    process: subprocess.Popen[bytes]
    log: Path

    def is_serving(self) -> bool:
        return subprocess.run(self.server.probe_command, check=False).returncode == 0

    def wait_until_serving(self) -> None:
        """Return once connections are accepted; fails with the log when the process ends or is late."""
        deadline = time.monotonic() + START_SECONDS
        while not self.is_serving():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"not serving (exit {self.process.poll()}):\n{self.log.read_text()}")
            time.sleep(0.01)

    def connect(self, *, superuser: bool = False) -> psycopg.Connection:
        """A connection that commits each statement."""
        url = self.server.superuser_url if superuser else self.server.url
        return psycopg.connect(url, autocommit=True)

    def stop(self) -> int:
        """Stop fast, whatever state it is in; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(STOP_SIGNAL)
        return self.process.wait(timeout=START_SECONDS)


def launch(server: Server, log: Path, **options: object) -> RunningServer:
    """Start the server's command in a session of its own, without waiting."""
    with log.open("ab") as output:
        process = subprocess.Popen(server.command, stdout=output, stderr=output, start_new_session=True, **options)
    return RunningServer(server, process, log)


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[RunningServer]:
    """One server for the whole session, in a folder short enough for a unix socket."""
    home = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
    running = launch(plan_server(home, SERVER_BIN), home / "server.log")
    try:
        running.wait_until_serving()
        with running.connect(superuser=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # tests that kill have a server of their own
            connection.execute("SELECT pg_reload_conf()")
        yield running
    finally:
        running.stop()
        shutil.rmtree(home)


@pytest.fixture(scope="session")
def postgres_url(embedded_server: RunningServer) -> str:
    """The session's server as jobs see it: role and database `workerctl`. Shared: leave nothing behind."""
    return embedded_server.server.url


@pytest.fixture(scope="session")
def migrated(embedded_server: RunningServer) -> str:
    """The name of a database with our schema and nothing in it, to be copied: migrating each anew took 0.1 s a test."""
    with embedded_server.connect(superuser=True) as connection:
        connection.execute("CREATE DATABASE migrated OWNER workerctl")
    with connect(_url_of(embedded_server, "migrated"), application="test") as connection:
        migrate(connection)
    return "migrated"


@pytest.fixture
def database_url(embedded_server: RunningServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database that the role `workerctl` owns; dropped afterwards, whoever is still connected.

    Empty, but for a test that asks for a `queue`.
    """
    name = f"test_{uuid.uuid4().hex[:12]}"
    template = request.getfixturevalue("migrated") if "queue" in request.fixturenames else "template1"
    with embedded_server.connect(superuser=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER workerctl TEMPLATE {template}")
        yield _url_of(embedded_server, name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def queue(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """An empty queue."""
    with connect(database_url, application="test") as connection:
        yield connection


def _url_of(running: RunningServer, database: str) -> str:
    return urlsplit(running.server.url)._replace(path=f"/{database}").geturl()


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Types a command of ours in `tmp_path`: `call("config", "show", NAME="value")`. What the program does, but for an
    interpreter of its own, which takes a quarter of a second to import everything again."""

    def main_with(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as there:
            there.chdir(tmp_path)
            there.setattr(sys, "argv", [str(WORKERCTL), *map(str, arguments)])
            for name, value in environ.items():
                there.setenv(name, value)
            with pytest.raises(SystemExit) as end:
                main()
        said = capfd.readouterr()
        return subprocess.CompletedProcess(arguments, end.value.code or 0, said.out, said.err)

    return main_with


@pytest.fixture
def short_home() -> Iterator[Path]:
    """A home of the test's own, short enough for a unix socket and below folders that everybody may enter."""
    home = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
    home.chmod(0o755)
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def template_home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="wt-", dir="/tmp"))
    running = launch(plan_server(home), home / "server.log")
    try:
        running.wait_until_serving()
    finally:
        running.stop()
    yield home
    shutil.rmtree(home)


@pytest.fixture
def used_home(short_home: Path, template_home: Path) -> Path:
    """Like `short_home`, and its server was started once before: spares the second that initdb takes."""
    subprocess.run(["cp", "-a", f"{template_home}/.", short_home], check=True)  # with owners: it may be nobody's
    return short_home


@pytest.fixture
def start_embedded(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts embedded servers of a home: `start_embedded(home)` waits until serving, `wait=False` does not.

    Further keywords go to subprocess.Popen. Everything started is stopped at the end.
    """
    started: list[RunningServer] = []

    def start(home: Path, bin_folder: Path | None = None, *, wait: bool = True, **options: object) -> RunningServer:
        running = launch(plan_server(home, bin_folder), tmp_path / "server.log", **options)
        started.append(running)
        if wait:
            running.wait_until_serving()
        return running

    yield start
    for running in started:
        running.stop()
