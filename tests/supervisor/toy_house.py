"""Real supervisors over toy processes: what the tests of tests/supervisor start, ask and wait for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from toy_programs import AGENT, COLLECTOR, TEMPLATE

from workerctl.contract import NotRunning
from workerctl.supervisor.client import request
from workerctl.supervisor.composition import Composition, Group, Node, Policy, Ready, save_composition
from workerctl.supervisor.state import load_outcome

Found = TypeVar("Found")


class House:
    """One home in `folder`, and whatever supervisor runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.process: subprocess.Popen[bytes] | None = None
        self._all: list[subprocess.Popen[bytes]] = []
        for name, program in (("template", TEMPLATE), ("collector", COLLECTOR), ("agent", AGENT)):
            (folder / f"{name}.py").write_text(program)

    def group(self, name: str, kind: str, **fields: Any) -> Group:
        if kind in ("template", "collector", "agent"):
            fields = {
                "command": (sys.executable, str(self.folder / f"{kind}.py"), str(self.folder)),
                "role": True,
            } | fields
        if kind == "pool":
            fields = {"template": "template", "after": ("template",), "instances": 2} | fields
        return msgspec.convert({"name": name, "kind": kind, **fields}, Group)

    def command(self, name: str, *command: str, **fields: Any) -> Group:
        return self.group(
            name, "command", command=command, **({"ready": Ready("started"), "cwd": str(self.folder)} | fields)
        )

    def workers(self, instances: int = 2, **fields: Any) -> tuple[Group, ...]:
        return (self.group("template", "template"), self.group("default", "pool", instances=instances, **fields))

    def start(
        self, *groups: Group, environment: dict[str, str] | None = None, inherit: tuple[int, ...] = (), **fields: Any
    ) -> None:
        """Begin a supervisor; its log is home/logs/supervisor.log."""
        path = self.compose(*groups, **fields)
        with (self.home / "logs" / "supervisor.log").open("ab") as log:
            self.launch(
                [sys.executable, "-m", "workerctl.supervisor", "--composition", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=inherit,
                env=os.environ | (environment or {}),
            )

    def launch(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Begin this supervisor, of which the house takes care from here on."""
        process: subprocess.Popen[bytes] = subprocess.Popen(command, start_new_session=True, **options)
        self.process = process
        self._all.append(process)
        return process

    def compose(self, *groups: Group, name: str = "composition.json", **fields: Any) -> Path:
        """Write a composition; the file."""
        policy = Policy(**fields.pop("policy", {}))
        node = Node("0123456789abcdef", "box", 2)
        composition = Composition(str(self.home), node, groups, "0.1.0", policy=policy, **fields)
        for folder in ("run", "logs"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        path = self.home / "run" / name
        save_composition(composition, path)
        return path

    def reload(self, *groups: Group, name: str | None = None) -> int:
        """Ask for a reload with this composition, once the boot is decided; its number."""
        self.until_state("running", "degraded", "reloading", "waiting for database")
        number: int = self.ask("reload", composition=str(self.compose(*groups, name="next.json")), name=name)["number"]
        return number

    def until_reloaded(self, number: int, seconds: float = 20) -> dict[str, Any]:
        """How this reload ended."""

        def ended() -> dict[str, Any] | None:
            last: dict[str, Any] | None = self.status()["supervisor"]["last_reload"]
            return last if last is not None and last["number"] == number else None

        return until(ended, seconds, self.log)

    def behave(self, text: str) -> None:
        """What workers that start from now on do."""
        fresh = self.folder / "behaviour.new"
        fresh.write_text(text)
        fresh.replace(self.folder / "behaviour")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return request(self.home, command, **arguments)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = request(self.home, "status")["status"]
        return document

    def pool(self, name: str = "default") -> dict[str, Any]:
        found: dict[str, Any] = next(pool for pool in self.status()["pools"] if pool["name"] == name)
        return found

    def pids(self) -> list[int]:
        return [worker["pid"] for worker in self.pool()["workers"] if worker["phase"] == "ready"]

    def role(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(role for role in self.status()["roles"] if role["name"] == name)
        process: dict[str, Any] = found["processes"][0]
        return process

    def until_state(self, *states: str, seconds: float = 15) -> str:
        return until(lambda: self._state(states), seconds, self.log)

    def until_ready(self, count: int, seconds: float = 15) -> list[int]:
        def ready() -> list[int] | None:
            pids = self.pids()
            return pids if len(pids) == count else None

        return until(ready, seconds, self.log)

    def until_ended(self, seconds: float = 15) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self, seconds: float = 15, **arguments: Any) -> int:
        self.ask("stop", **arguments)
        return self.until_ended(seconds)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def outcome(self) -> dict[str, Any]:
        outcome = load_outcome(self.home)
        assert outcome is not None
        return outcome

    def log(self) -> str:
        return (self.home / "logs" / "supervisor.log").read_text()

    def facts(self, name: str) -> list[str]:
        return [line for line in self.log().splitlines() if f" event {name}" in line]

    def exits(self) -> list[dict[str, Any]]:
        path = self.home / "state" / "exits.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def agent_messages(self, kind: str) -> list[dict[str, Any]]:
        path = self.folder / "agent"
        lines = path.read_text().splitlines() if path.exists() else []
        messages = [json.loads(line) for line in lines if line.endswith("}")]
        return [message for message in messages if message["type"] == kind]

    def left_over(self) -> list[str]:
        """Command lines of living processes that name this house's folder."""
        return [line for _, line in processes_of(str(self.folder))]

    def clean(self) -> None:
        for process in self._all:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        for pid, _ in processes_of(str(self.folder)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _state(self, states: tuple[str, ...]) -> str | None:
        state: str = self.status()["supervisor"]["state"]
        return state if state in states else None


def processes_of(text: str) -> Iterator[tuple[int, str]]:
    """Living processes, zombies left out, whose command line or working folder has this text."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            folder = str((entry / "cwd").readlink())
        except OSError:
            continue
        if text in line or text in folder:
            yield int(entry.name), line


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition: Callable[[], Found | None], seconds: float = 15, explain: Callable[[], str] = str) -> Found:
    """What the condition gives once it is neither None nor false; fails with `explain()` after the deadline."""
    deadline = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < deadline:
        try:
            found = condition()
        except (NotRunning, IndexError, OSError) as error:
            found, last = None, error
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds} s ({last})\n{explain()[-4000:]}")
