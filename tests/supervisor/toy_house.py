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

from workerctl.contract import NotRunning
from workerctl.supervisor.client import request
from workerctl.supervisor.composition import Composition, Group, Node, Policy, Ready, save_composition
from workerctl.supervisor.state import load_outcome

Found = TypeVar("Found")

# A worker does what the file `behaviour` in its folder says when it starts: a toy, but on the real protocol.
TEMPLATE = """
import faulthandler, json, os, select, signal, subprocess, sys, time
from workerctl.contract import Channel, ChannelClosed
folder = sys.argv[1]
supervisor = os.getppid()

def behaviour():
    try:
        return open(folder + "/behaviour").read().split()
    except FileNotFoundError:
        return []

def wait_for_adoption():
    end = time.monotonic() + 10
    while os.getppid() != supervisor:
        if time.monotonic() > end:
            os._exit(1)
        time.sleep(0.0002)

def hang_in_here():
    time.sleep(1000)

def wait_for(channel, kind, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        select.select([channel], [], [], 0.5)
        for message in channel.receive():
            if message["type"] == kind:
                return

def work(request):
    os.setsid()
    channel_fd, out, err, *_ = request["fds"]
    os.dup2(out, 1); os.dup2(err, 2)
    import socket
    channel = Channel(socket.socket(fileno=channel_fd))
    does = behaviour() + os.environ.get("TOY", "").split()
    if "die-early" in does:
        os._exit(5)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(time.monotonic()))
    faulthandler.register(signal.SIGUSR2)
    if "default-term" in does:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    wait_for_adoption()
    try:
        wait_for(channel, "go")
    except ChannelClosed:
        os._exit(0)
    with open(folder + "/went", "a") as file:
        file.write(f"{time.monotonic()} {request['slot']} {os.getpid()}\\n")
    print("hello from slot", request["slot"], flush=True)
    if "crash-at-boot" in does:
        print("cannot import nonsense", file=sys.stderr, flush=True)
        os._exit(1)
    if "unusable" in does:
        channel.send({"type": "failed", "exit_code": 78, "message": "setting x is wrong"})
        os._exit(78)
    if "away" in does:
        channel.send({"type": "failed", "exit_code": 69, "message": "db.example:5432 does not answer"})
        os._exit(69)
    if "never-ready" in does:
        time.sleep(1000)
    for word in does:
        if word.startswith("slow="):
            time.sleep(float(word[5:]))
    if "grandchild" in does:
        subprocess.Popen(["sleep", "1000"], cwd=folder)
    if "stray" in does:
        subprocess.Popen(["sh", "-c", "set -m; sleep 1000 & sleep 1000"], cwd=folder)
    if "silent" in does:
        channel.send({"type": "ready"})
        hang_in_here()
    fat = [bytearray(int(word[4:]) << 20) for word in does if word.startswith("fat=")]
    for block in fat:
        block[::4096] = b"x" * len(block[::4096])
    for word in does:
        if word.startswith("fat-child="):
            fatten = "import time; x = b'x' * (int(%s) << 20); time.sleep(1000)" % word[10:]
            subprocess.Popen([sys.executable, "-c", fatten], cwd=folder)
    channel.send({"type": "ready"})
    if "die-on-probation" in does:
        time.sleep(0.05)
        os._exit(3)
    jobs = 1 if f"busy={request['slot']}" in does else 0
    while True:
        channel.send({"type": "heartbeat", "jobs_running": jobs, "jobs_done": 7, "jobs_failed": 0})
        select.select([channel], [], [], 5.0 if "calm" in does else 0.05)
        try:
            for message in channel.receive():
                with open(folder + "/told", "a") as file:
                    file.write(f"{message['type']} {request['slot']}\\n")
                if message["type"] == "trim" and "trims" in does:
                    fat.clear()
                    block = None
        except ChannelClosed:
            os._exit(0)
        if "crash-when-ready" in behaviour():
            os.kill(os.getpid(), signal.SIGKILL)
        if stopped and "ignore-term" not in does:
            channel.send({"type": "draining"})
            drain = [float(word[6:]) for word in does if word.startswith("drain=")]
            if len(stopped) > 1 or not drain or time.monotonic() > stopped[0] + drain[0]:
                os._exit(0)

def serve(channel):
    channel.send({"type": "ready", "fingerprint": CODE})
    while True:
        select.select([channel], [], [], 0.1)
        channel.send({"type": "heartbeat"})
        try:
            messages = channel.receive()
        except ChannelClosed:
            return
        for message in messages:
            if "no-answer" in behaviour():
                for fd in message["fds"]:
                    os.close(fd)
                continue
            if "no-fork" in behaviour():
                channel.send({"type": "fork-failed", "serial": message["serial"], "message": "EAGAIN"})
                for fd in message["fds"]:
                    os.close(fd)
                continue
            fork(channel, message)

def be_a_spare(request):
    import socket
    os.setsid()
    channel_fd, out, err = request["fds"]
    os.dup2(out, 1); os.dup2(err, 2)
    wait_for_adoption()
    serve(Channel(socket.socket(fileno=channel_fd)))
    os._exit(0)

def fork(channel, request):
    read_end, write_end = os.pipe()
    intermediate = os.fork()
    if intermediate == 0:
        worker = os.fork()
        if worker == 0:
            os.close(read_end); os.close(write_end)
            channel.close()
            try:
                be_a_spare(request) if request["as"] == "template" else work(request)
            except BaseException:
                import traceback; traceback.print_exc()
                os._exit(1)
        os.write(write_end, str(worker).encode())
        os._exit(0)
    os.close(write_end)
    pid = int(os.read(read_end, 32))
    os.close(read_end)
    os.waitpid(intermediate, 0)
    for fd in request["fds"]:
        os.close(fd)
    channel.send({"type": "forked", "serial": request["serial"], "pid": pid})

channel = Channel.from_environment()
CODE = next((word[5:] for word in behaviour() if word.startswith("code=")), "")
if "template-unusable" in behaviour():
    channel.send({"type": "failed", "exit_code": 78, "message": "no module named nonsense"})
    sys.exit(78)
if "template-broken" in behaviour():
    sys.exit("Traceback: it broke")
signal.signal(signal.SIGINT, signal.SIG_IGN)
serve(channel)
"""

# Copies each stream to <folder>/<group>-<slot>.<name>; leaves when asked and nothing is left to read.
COLLECTOR = """
import os, selectors, signal, sys
from workerctl.contract import Channel, ChannelClosed
folder = sys.argv[1]
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
signal.signal(signal.SIGINT, signal.SIG_IGN)
selector = selectors.DefaultSelector()
channel = Channel.from_environment()
selector.register(channel, selectors.EVENT_READ, None)
channel.send({"type": "ready"})
streams = 0
closed = False
while len(stopped) < 2 and not ((stopped or closed) and streams == 0):
    ready = selector.select(0.05)
    if not closed:
        channel.send({"type": "heartbeat"})
    for key, _ in ready:
        if key.data is None:
            try:
                messages = channel.receive()
            except ChannelClosed:
                selector.unregister(channel)
                closed = True
                continue
            for message in messages:
                if message["type"] == "follow":
                    with open(folder + "/followed", "a") as file:
                        file.write(f"{os.getpid()} {message['stream']}\\n")
                    selector.register(message["fds"][0], selectors.EVENT_READ, message)
                    streams += 1
            continue
        content = os.read(key.fd, 65536)
        if content:
            with open(folder + "/{group}-{slot}.{name}".format(**key.data), "ab") as file:
                file.write(content)
        else:
            selector.unregister(key.fd); os.close(key.fd)
            streams -= 1
            channel.send({"type": "stream-ended", "stream": key.data["stream"]})
"""

# Writes every message to <folder>/agent as JSON lines; answers `lost` unless the file `mute` exists.
AGENT = """
import json, os, select, signal, sys
from workerctl.contract import Channel, ChannelClosed
folder = sys.argv[1]
signal.signal(signal.SIGINT, signal.SIG_IGN)
channel = Channel.from_environment()
channel.send({"type": "ready"})
channel.send({"type": "primary", "holds_lease": True, "holder": "me"})
while True:
    select.select([channel], [], [], 0.1)
    channel.send({"type": "heartbeat"})
    try:
        messages = channel.receive()
    except ChannelClosed:
        break
    for message in messages:
        for fd in message.pop("fds", ()):
            os.close(fd)
        with open(folder + "/agent", "a") as file:
            file.write(json.dumps(message | {"agent": os.getpid()}) + "\\n")
        if message["type"] == "lost" and not os.path.exists(folder + "/mute"):
            channel.send({"type": "released", "incarnation": message["incarnation"], "jobs": 1})
"""


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
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workerctl.supervisor", "--composition", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=inherit,
                env=os.environ | (environment or {}),
            )
        self._all.append(self.process)

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
        """Ask for a reload with this composition; its number."""
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
