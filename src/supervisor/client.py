"""The command line's side of the control socket: one request, one response."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..contract import Exit, NotRunning, WorkerctlError

SOCKET_PATH_LIMIT_BYTES = 107
RESPONSE_LIMIT_BYTES = 16 * 1024 * 1024


class Refused(WorkerctlError):
    """The supervisor said no; the message is its reason and `exit_code` what the command should end with."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = Exit(exit_code)


def request(home: Path, command: str, *, timeout_seconds: float = 5.0, **arguments: Any) -> dict[str, Any]:
    """The response of the supervisor of this home.

    Commands: `status`; `stop` (now: bool); `scale` (pool: str, to: int | by: int); `restart` (name: str | None);
    `reload` (composition: path, name: str | None); `reset` (name: str); `reopen`; `noted` (change: str). Those
    that change something take a `reason: str | None` for the audit line, and return at once: watch `status` for their
    end.
    Raises NotRunning where nobody answers, Refused where the supervisor refuses.
    """
    line = json.dumps({"command": command, **arguments}).encode() + b"\n"
    try:
        with _connected(home / "run", timeout_seconds) as connection:
            connection.sendall(line)
            response = _read_line(connection)
    except (FileNotFoundError, ConnectionError, NotADirectoryError) as error:
        raise NotRunning(f"no supervisor runs in {home}; start one with `workerctl start`") from error
    except TimeoutError as error:
        raise NotRunning(
            f"the supervisor in {home} did not answer within {timeout_seconds:g} s; see {home}/logs/supervisor.log"
        ) from error
    if not response.get("ok"):
        raise Refused(str(response.get("error")), int(response.get("exit_code", Exit.FAILED)))
    return response


@contextlib.contextmanager
def _connected(run: Path, timeout_seconds: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, reachable_path(run) as path:
        connection.settimeout(timeout_seconds)
        connection.connect(path)
        yield connection


@contextlib.contextmanager
def reachable_path(run: Path) -> Iterator[str]:
    """A name of run/control.sock that fits into a socket address, valid inside the block.

    A path over 107 bytes goes through /proc/self/fd (Linux only; elsewhere the operating system refuses it).
    """
    path = str(run / "control.sock")
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT_BYTES:
        yield path
        return
    folder = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/control.sock"
    finally:
        os.close(folder)


def _read_line(connection: socket.socket) -> dict[str, Any]:
    content = bytearray()
    while not content.endswith(b"\n"):
        part = connection.recv(65536)
        if not part or len(content) > RESPONSE_LIMIT_BYTES:
            raise ConnectionResetError("the supervisor closed the connection")
        content += part
    response: dict[str, Any] = json.loads(content)
    return response
