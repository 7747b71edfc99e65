"""A real collector process, driven as the supervisor drives it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from workerctl.contract import ENV_CHANNEL, Channel, ChannelClosed

DEADLINE_SECONDS = 30.0


class RunningCollector:
    """One collector; `follow` gives it a pipe, as the supervisor does."""

    def __init__(
        self, directory: Path, max_size_bytes: int = 100 * 1024 * 1024, keep: int = 7, **more: float | str
    ) -> None:
        self.channel, theirs = Channel.pair()
        command = [sys.executable, "-m", "workerctl.logs", "--directory", str(directory)]
        command += ["--max-size", str(max_size_bytes), "--keep", str(keep)]
        for name, value in more.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        self.process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env={**os.environ, ENV_CHANNEL: str(theirs.fileno())}
        )
        theirs.close()
        self._messages: list[dict[str, Any]] = []
        self.wait_for("ready")

    def follow(self, pipe: Pipe, name: str = "out", *, serial: int = 1, slot: int = 1, group: str = "default") -> str:
        """Hand over the read end and keep it, as the supervisor does."""
        stream = f"{serial}.{name}"
        message = {"type": "follow", "stream": stream, "group": group, "slot": slot, "serial": serial, "name": name}
        self.channel.send(message, [pipe.reading.fileno()])
        return stream

    def wait_for(self, kind: str, **fields: Any) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            for message in self._messages:
                if message["type"] == kind and fields.items() <= message.items():
                    self._messages.remove(message)
                    return message
            left = deadline - time.monotonic()
            assert left > 0, f"no {kind} {fields}, but {self._messages}"
            select.select([self.channel], [], [], left)
            self._messages += self.channel.receive()

    def has_ended(self, stream: str) -> bool:
        with contextlib.suppress(ChannelClosed):
            if select.select([self.channel], [], [], 0)[0]:
                self._messages += self.channel.receive()
        return {"type": "stream-ended", "stream": stream} in self._messages

    def wait_until_taken(self) -> None:
        """Until no SIGTERM is pending: two that are pending at once are one."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while _has_pending_term(self.process.pid):
            assert time.monotonic() < deadline, "it takes no signal"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.channel.close()


def _has_pending_term(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("ShdPnd", "SigPnd"))]
    return any(mask >> (signal.SIGTERM - 1) & 1 for mask in masks)


@pytest.fixture
def collect(tmp_path: Path) -> Iterator[Callable[..., RunningCollector]]:
    """Starts collectors that write to `tmp_path / "logs"`."""
    running: list[RunningCollector] = []

    def start(**options: Any) -> RunningCollector:
        running.append(RunningCollector(tmp_path / "logs", **options))
        return running[-1]

    yield start
    for each in running:
        each.close()


class Pipe:
    """What a worker writes into and the collector reads from."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.reading = os.fdopen(reading, "rb", buffering=0)
        self.writing = os.fdopen(writing, "wb", buffering=0)

    def write(self, content: bytes) -> None:
        self.writing.write(content)

    def end(self) -> None:
        self.writing.close()

    def close(self) -> None:
        self.reading.close()
        self.writing.close()


@pytest.fixture
def new_pipe() -> Iterator[Callable[[], Pipe]]:
    pipes: list[Pipe] = []

    def make() -> Pipe:
        pipes.append(Pipe())
        return pipes[-1]

    yield make
    for each in pipes:
        each.close()


@pytest.fixture
def pipe(new_pipe: Callable[[], Pipe]) -> Pipe:
    return new_pipe()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    return wait
