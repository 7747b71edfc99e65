"""Readiness that programs show themselves: READY=1 as services of systemd say it, or a port that accepts."""

from __future__ import annotations

import os
import selectors
import socket
import struct
from collections.abc import Callable

MESSAGE_LIMIT_BYTES = 4096
CREDENTIALS = struct.Struct("3i")
PATIENCE_SECONDS = 0.005  # for a connection on this very machine


class Readiness:
    """A socket for each process that was told to say READY=1, until it has said it or ended."""

    def __init__(self, selector: selectors.BaseSelector, on_ready: Callable[[int], None]) -> None:
        self._selector = selector
        self._on_ready = on_ready
        self._ends: dict[int, socket.socket] = {}

    def open(self, serial: int) -> str:
        """What NOTIFY_SOCKET shall be. An abstract name has no length limit and leaves no file; uids are checked."""
        name = f"workerctl-{os.urandom(12).hex()}"
        end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        end.bind(f"\0{name}")
        self._ends[serial] = end
        self._selector.register(end, selectors.EVENT_READ, lambda _: self._listen(serial))
        return f"@{name}"

    def forget(self, serial: int) -> None:
        end = self._ends.pop(serial, None)
        if end is not None:
            self._selector.unregister(end)
            end.close()

    def close(self) -> None:
        for serial in list(self._ends):
            self.forget(serial)

    def _listen(self, serial: int) -> None:
        try:
            content, ancillary, _, _ = self._ends[serial].recvmsg(MESSAGE_LIMIT_BYTES, socket.CMSG_SPACE(64))
        except OSError:
            return
        uids = [CREDENTIALS.unpack(part[: CREDENTIALS.size])[1] for _, kind, part in ancillary
                if kind == socket.SCM_CREDENTIALS]  # fmt: skip
        if b"READY=1" in content.split(b"\n") and any(uid in (0, os.geteuid()) for uid in uids):
            self.forget(serial)
            self._on_ready(serial)


def accepts(port: int) -> bool:
    """Whether something on this machine accepts connections on this TCP port; waits 10 ms at most."""
    return any(
        _accepts(family, host, port) for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
    )


def _accepts(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as end:
            end.settimeout(PATIENCE_SECONDS)
            end.connect((host, port))
            return True
    except OSError:
        return False
