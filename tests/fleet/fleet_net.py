"""Machines that are network namespaces on one bridge: three nodes and a PostgreSQL, with links that can be cut."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from workerctl.broker.embedded import find_bin
from workerctl.contract import NotRunning
from workerctl.supervisor.client import request

Found = TypeVar("Found")

WORKERCTL = Path(sys.executable).with_name("workerctl")
NET = f"10.211.{os.getpid() % 254 + 1}"  # two test runs on one machine are two networks
DATABASE_HOST = 13
PORT = 5432
URL = f"postgresql://workerctl@{NET}.{DATABASE_HOST}:{PORT}/postgres"
KINDS = """
import asyncio, os
from pathlib import Path
from workerctl import Context, job

def note(word, ctx):
    with open(Path(__file__).with_name("notes"), "a") as notes:
        notes.write(f"{word} {ctx.job.id} {ctx.job.attempt}\\n")

@job("tick")
async def tick(payload: dict, ctx: Context) -> None:
    note("tick", ctx)

@job("work")
async def work(payload: dict, ctx: Context) -> None:
    note("began", ctx)
    await asyncio.sleep(payload.get("seconds", 0))
    note("ended", ctx)
"""
CONFIG = """
connection_limit = 60
[jobs]
modules = ["kinds"]
shipped = false
lease = "16s"
poll_interval = "1s"
[schedule.every-second]
cron = "* * * * * *"
kind = "tick"
missed = "all"
"""


def until(condition: Callable[[], Found], seconds: float, what: str) -> Found:
    """What `condition` gives once it is true; fails when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


@functools.cache
def why_not() -> str | None:
    """Why this machine cannot have network namespaces; None where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no `ip` (iproute2)"
    done = _ip("netns", "add", name := f"wfprobe{os.getpid()}", check=False)
    if done.returncode != 0:
        return f"no network namespaces here: {done.stderr.strip()}"
    _ip("netns", "del", name)
    return None


class Machine:
    """One namespace with its own address; everything in it ends with `kill`."""

    def __init__(self, fleet: str, number: int) -> None:
        self.name = f"{fleet}h{number}"
        self._link = f"{fleet}v{number}"
        _ip("netns", "add", self.name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        _ip("link", "set", self._link, "master", f"{fleet}b", "up")
        _ip("-n", self.name, "addr", "add", f"{NET}.{number}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", self.name, "link", "set", device, "up")

    def inside(self, *words: object) -> list[str]:
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def unplug(self) -> None:
        _ip("link", "set", self._link, "down")

    def plug_in(self) -> None:
        _ip("link", "set", self._link, "up")

    def drop(self, share: float) -> None:
        """Throw away so large a share of what it sends and gets; 0 throws nothing away any more."""
        for chain in ("INPUT", "OUTPUT"):
            subprocess.run(self.inside("iptables", "-F", chain), check=True)
            if share:
                rule = f"-A {chain} -m statistic --mode random --probability {share} -j DROP".split()
                subprocess.run(self.inside("iptables", *rule), check=True)

    def kill(self) -> None:
        """What a machine does that loses its power."""
        for pid in _ip("netns", "pids", self.name).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> None:
        self.kill()
        until(lambda: not _ip("netns", "pids", self.name).stdout.strip(), 20, f"the end of all in {self.name}")
        _ip("netns", "del", self.name, check=False)
        _ip("link", "del", self._link, check=False)


class Node(Machine):
    """A machine with a home of workerctl in it."""

    def __init__(self, fleet: str, number: int, folder: Path) -> None:
        super().__init__(fleet, number)
        self.folder = folder
        self.home = folder / ".workerctl"
        folder.mkdir()
        (folder / "workerctl.toml").write_text(CONFIG)
        (folder / "kinds.py").write_text(KINDS)

    def begin_start(self, instances: int = 2) -> subprocess.Popen[str]:
        words = self.inside(WORKERCTL, "start", "--instances", instances)
        return subprocess.Popen(words, cwd=self.folder, env=os.environ | {"DATABASE_URL": URL}, text=True,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip

    @property
    def is_primary(self) -> bool:
        with contextlib.suppress(NotRunning):
            return bool(request(self.home, "status")["status"]["primary"]["holds_lease"])
        return False

    @property
    def state(self) -> str:
        return str(request(self.home, "status")["status"]["supervisor"]["state"])

    def agent_pid(self) -> int:
        [team] = [team for team in request(self.home, "status")["status"]["roles"] if team["name"] == "agent"]
        return int(team["processes"][0]["pid"])

    def notes(self, word: str) -> list[tuple[int, int]]:
        """(job, attempt) of what its handlers said."""
        path = self.folder / "notes"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(job), int(attempt)) for said, job, attempt in lines if said == word]


class Fleet:
    """Three nodes on one database, all started."""

    def __init__(self, folder: Path) -> None:
        self._name = f"wf{os.getpid() % 100000}"
        _ip("link", "add", f"{self._name}b", "type", "bridge")
        _ip("addr", "add", f"{NET}.1/24", "dev", f"{self._name}b")
        _ip("link", "set", f"{self._name}b", "up")
        self._machines: list[Machine] = []
        self.database = Machine(self._name, DATABASE_HOST)
        self._machines.append(self.database)
        self._serve(folder / "data")
        self.nodes = [Node(self._name, 20 + number, folder / f"n{number}") for number in range(3)]
        self._machines += self.nodes

    def start(self) -> None:
        for starting in [node.begin_start() for node in self.nodes]:
            output, _ = starting.communicate(timeout=120)
            assert starting.returncode == 0, output
        until(lambda: self.primaries(), 15, "a primary")

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(URL, autocommit=True, connect_timeout=5)

    def primaries(self) -> list[Node]:
        return [node for node in self.nodes if node.is_primary]

    def remove(self) -> None:
        self.database.kill()
        self._server.wait(timeout=20)
        for machine in reversed(self._machines):
            machine.remove()
        _ip("link", "del", f"{self._name}b", check=False)

    def _serve(self, data: Path) -> None:
        bins = find_bin(None)
        nobody = ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"]
        initdb = [*nobody, str(bins / "initdb"), "-D", str(data), "-U", "workerctl", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8", "TZ": "UTC"})
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {NET}.0/24 trust\n")
        options = ["-c", "listen_addresses=*", "-c", f"unix_socket_directories={data}", "-c", "fsync=off"]
        with (data.parent / "server.log").open("ab") as log:
            words = self.database.inside(*nobody, bins / "postgres", "-D", data, "-p", PORT, *options)
            self._server = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        until(lambda: self._answers(), 30, "PostgreSQL")

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), self.connect():
            return True
        return False


@contextlib.contextmanager
def a_fleet(*, started: bool = True) -> Iterator[Fleet]:
    folder = Path(tempfile.mkdtemp(prefix="wf-", dir="/tmp"))  # short enough for unix sockets
    folder.chmod(0o755)
    fleet = Fleet(folder)
    try:
        if started:
            fleet.start()
        yield fleet
    finally:
        fleet.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _ip(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)
