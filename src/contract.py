"""What our processes share: exit codes, errors, messages, environment names. Standard library only."""

from __future__ import annotations

import array
import contextlib
import enum
import fcntl
import importlib.util
import json
import os
import socket
import termios
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from typing import Any

ENV_CONFIG = "WORKERCTL_CONFIG"
ENV_HOME = "WORKERCTL_HOME"
ENV_SETTINGS = "WORKERCTL_SETTINGS"  # the effective settings that `start` wrote for its processes (JSON, 0600)
ENV_NODE = "WORKERCTL_NODE"  # this machine's id in the fleet
ENV_NOVELS = "WORKERCTL_NOVELS"  # the folder of the novels that `scripts/demo` has fetched
ENV_ALIVE = "WORKERCTL_ALIVE"  # descriptor number of run/alive, whose lock says that somebody of a set still lives
ENV_CHANNEL = "WORKERCTL_CHANNEL"  # descriptor number of a child's end of its channel

# Ordered on purpose: a worker is judged hung before its lease ends, so that the supervisor acts before the fleet does.
HEARTBEAT_SECONDS = 5.0
HUNG_SECONDS = 15.0
LEASE_SECONDS = 30.0

UNREAD_WAKES_LIMIT = 16
MESSAGE_LIMIT_BYTES = 4 * 1024 * 1024


def next_beat(now: float) -> float:
    """When processes of ours beat next: all of a machine at one instant, so that the supervisor wakes once for them."""
    return (now // HEARTBEAT_SECONDS + 1) * HEARTBEAT_SECONDS


class Exit(enum.IntEnum):
    """Exit codes of every process and command of ours."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    ALREADY_RUNNING = 3
    NOT_RUNNING = 4
    UNREACHABLE = 69  # database or storage; spends no crash budget
    UNUSABLE = 78  # configuration; never retried


class WorkerctlError(Exception):
    """An error whose message is meant for the user: one line, with what to do next."""

    exit_code = Exit.FAILED


class AlreadyRunning(WorkerctlError):
    """Another supervisor holds this home."""

    exit_code = Exit.ALREADY_RUNNING


class NotRunning(WorkerctlError):
    """No supervisor answers in this home."""

    exit_code = Exit.NOT_RUNNING


class Unreachable(WorkerctlError):
    """The database or the storage does not answer."""

    exit_code = Exit.UNREACHABLE


class Unusable(WorkerctlError):
    """The configuration cannot work; trying again without a change is useless."""

    exit_code = Exit.UNUSABLE


class ChannelClosed(Exception):
    """The other end is gone: for a child, its supervisor died or wants it to leave."""


class Channel:
    """JSON messages with descriptors over one end of a stream socketpair; never blocks.

    A message is a mapping with a `type`. What the socket does not take at once waits in the outbox until
    `flush()` is called when the descriptor is writable.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._outbox: deque[tuple[bytes, list[int]]] = deque()
        self._inbox = b""
        self._received_fds: deque[int] = deque()

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """Our end as a channel, and the raw end to hand to a child."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    @classmethod
    def from_environment(cls) -> Channel | None:
        """The channel that the supervisor gave this process, or None when run by hand."""
        number = os.environ.pop(ENV_CHANNEL, None)
        if number is None:
            return None
        os.set_inheritable(int(number), False)
        return cls(socket.socket(fileno=int(number)))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        for _, fds in self._outbox:
            _close_all(fds)
        self._outbox.clear()
        _close_all(self._received_fds)
        self._received_fds.clear()

    @property
    def wants_write(self) -> bool:
        return bool(self._outbox)

    def send(self, message: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
        """Queue one message and send what the socket takes; the descriptors stay the caller's to close.

        A peer that is gone is noticed by `receive`, not here.
        """
        text = json.dumps({**message, "fds": len(fds)} if fds else message, separators=(",", ":"))
        self._outbox.append((text.encode() + b"\n", [os.dup(fd) for fd in fds]))
        self.flush()

    def flush(self) -> None:
        while self._outbox:
            content, fds = self._outbox[0]
            try:
                sent = socket.send_fds(self._socket, [content], fds) if fds else self._socket.send(content)
            except BlockingIOError:
                return
            except OSError:
                while self._outbox:
                    _close_all(self._outbox.popleft()[1])
                return
            _close_all(fds)
            if sent < len(content):
                self._outbox[0] = (content[sent:], [])
                return
            self._outbox.popleft()

    def receive(self) -> list[dict[str, Any]]:
        """Every whole message that has arrived; descriptors come as the list `fds` of their message.

        Raises ChannelClosed when the peer is gone and nothing whole is left to read.
        """
        closed = False
        while True:
            try:
                content, fds, _, _ = socket.recv_fds(self._socket, 65536, 16)
            except BlockingIOError:
                break
            except OSError:
                closed = True
                break
            self._received_fds.extend(fds)
            if not content:
                closed = True
                break
            self._inbox += content
            if len(self._inbox) > MESSAGE_LIMIT_BYTES:
                closed = True
                break
        *lines, self._inbox = self._inbox.split(b"\n")
        messages = [self._decode(line) for line in lines if line]
        if closed and not messages:
            raise ChannelClosed
        return messages

    def _decode(self, line: bytes) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(line)
        if "fds" in message:
            message["fds"] = [self._received_fds.popleft() for _ in range(message["fds"])]
        return message


def name_process(title: str) -> None:
    """What `ps` shows; by setproctitle's extension alone: the package would import logging, a megabyte."""
    package = importlib.util.find_spec("setproctitle")
    places = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec("setproctitle._setproctitle", places) if places else None
    if spec is None or spec.loader is None:
        return  # no compiled extension on this platform: setproctitle itself does nothing then
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    extension.setproctitle(title)


def ring_wake_pipe(descriptor: int) -> None:
    """Wake one worker of a pool through the write end of its pipe; never blocks.

    More than a few unread wake-ups say nothing new: without a bound a busy pool would collect thousands, and its
    workers would look for work that often once they are idle.
    """
    unread = array.array("i", [0])
    with contextlib.suppress(BlockingIOError, BrokenPipeError):
        fcntl.ioctl(descriptor, termios.FIONREAD, unread)
        if unread[0] < UNREAD_WAKES_LIMIT:
            os.write(descriptor, b"!")


def _close_all(fds: Sequence[int] | deque[int]) -> None:
    for fd in fds:
        os.close(fd)
