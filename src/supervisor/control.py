"""The control socket's server: reads one line, answers one line, never blocks the loop."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from .client import reachable_path

REQUEST_LIMIT_BYTES = 64 * 1024
CONNECTION_LIMIT = 32
PATIENCE_SECONDS = 5.0


class Request(msgspec.Struct, frozen=True):
    """What a command line asked for, and who it was."""

    command: str
    arguments: dict[str, Any]
    uid: int
    pid: int


Answer = Callable[[Request], dict[str, Any]]


class Connection(msgspec.Struct):
    """One command line that is connected."""

    end: socket.socket
    uid: int
    pid: int
    deadline: float
    inbox: bytes = b""
    outbox: bytes = b""


class ControlServer:
    """Owns run/control.sock while run/lock is ours."""

    def __init__(self, run: Path, selector: selectors.BaseSelector, answer: Answer) -> None:
        self._path = run / "control.sock"
        self._selector = selector
        self._answer = answer
        self._connections: dict[int, Connection] = {}
        self._reserve: int | None = None
        self._refill_reserve()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._path.unlink(missing_ok=True)  # left by a supervisor that was killed: we hold its lock
        umask = os.umask(0o177)
        try:
            with reachable_path(run) as path:
                self._listener.bind(path)
        finally:
            os.umask(umask)
        self._listener.listen(CONNECTION_LIMIT)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        for connection in list(self._connections.values()):
            self._close(connection)
        self._selector.unregister(self._listener)
        self._listener.close()
        self._give_up_reserve()
        self._path.unlink(missing_ok=True)

    def drop_slow(self, now: float) -> None:
        """Hang up on whoever does not finish a request, or does not read its answer, in 5 s."""
        for connection in list(self._connections.values()):
            if connection.deadline == float("inf"):
                connection.deadline = now + PATIENCE_SECONDS
            elif now > connection.deadline:
                self._close(connection)

    @property
    def is_busy(self) -> bool:
        return bool(self._connections)

    def _accept(self, _events: int) -> None:
        end = self._next_caller()
        if end is None:
            return
        end.setblocking(False)
        uid, pid = _peer(end)
        if len(self._connections) >= CONNECTION_LIMIT or uid not in (0, os.geteuid()):
            end.close()
            return
        connection = Connection(end, uid, pid, float("inf"))
        self._connections[end.fileno()] = connection
        self._selector.register(end, selectors.EVENT_READ, lambda events: self._serve(connection, events))

    def _next_caller(self) -> socket.socket | None:
        """Out of descriptors, the one kept in reserve serves one caller at a time, so that `status` and `stop` work."""
        try:
            return self._listener.accept()[0]
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                return None
        self._give_up_reserve()
        try:
            return self._listener.accept()[0]
        except OSError:
            return None

    def _give_up_reserve(self) -> None:
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _refill_reserve(self) -> None:
        with contextlib.suppress(OSError):
            self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _serve(self, connection: Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._read(connection)
            if connection.outbox:
                self._write(connection)
        except OSError:
            self._close(connection)

    def _read(self, connection: Connection) -> None:
        content = connection.end.recv(REQUEST_LIMIT_BYTES)
        connection.inbox += content
        line, newline, _ = connection.inbox.partition(b"\n")
        if newline:
            response = self._respond(line, connection)
        elif len(connection.inbox) >= REQUEST_LIMIT_BYTES:
            response = refusal(f"a request is one line of at most {REQUEST_LIMIT_BYTES} bytes")
        elif not content:
            raise ConnectionResetError
        else:
            return
        connection.outbox = json.dumps(response, separators=(",", ":")).encode() + b"\n"
        self._selector.modify(connection.end, selectors.EVENT_WRITE, lambda events: self._serve(connection, events))

    def _respond(self, line: bytes, connection: Connection) -> dict[str, Any]:
        try:
            arguments = json.loads(line)
            command = arguments.pop("command")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            return refusal('a request is a JSON object such as {"command": "status"}')
        return self._answer(Request(str(command), arguments, connection.uid, connection.pid))

    def _write(self, connection: Connection) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = connection.end.send(connection.outbox)
            connection.outbox = connection.outbox[sent:]
            if not connection.outbox:
                self._close(connection)

    def _close(self, connection: Connection) -> None:
        if self._connections.pop(connection.end.fileno(), None) is not None:
            self._selector.unregister(connection.end)
        connection.end.close()
        if self._reserve is None:
            self._refill_reserve()


def refusal(error: str, exit_code: int = 1) -> dict[str, Any]:
    return {"ok": False, "error": error, "exit_code": exit_code}


def _peer(end: socket.socket) -> tuple[int, int]:
    """Uid and pid of the other side; where the operating system cannot tell, the socket's mode has let it in."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.geteuid(), 0
    pid, uid, _ = struct.unpack("3i", end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return uid, pid
