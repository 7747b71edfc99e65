"""Tells whoever wraps us, systemd or PM2, what we are doing, and hears PM2's wish to end."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Callable, Mapping

EXTEND_EVERY_SECONDS = 1.0
EXTENSION_SECONDS = 10.0  # of systemd's deadlines, asked for while our own, shorter ones run
METRICS_SECONDS = 2.0
SHUTDOWN = b'"shutdown"'


class Notifier:
    """Speaks to NOTIFY_SOCKET and NODE_CHANNEL_FD where they exist; takes both out of the environment."""

    def __init__(self) -> None:
        self._systemd = os.environ.pop("NOTIFY_SOCKET", None)
        self._said = ""
        self._pm2 = _descriptor(os.environ.pop("NODE_CHANNEL_FD", None))
        self._heard = b""
        self._watchdog_seconds = _watchdog_seconds()
        self._watchdog_at = self._extend_at = self._metrics_at = 0.0

    @property
    def listens(self) -> bool:
        """Whether anybody wants to know more than ready and stopping."""
        return self._systemd is not None or self._pm2 is not None

    def listen(self, selector: selectors.BaseSelector, on_shutdown: Callable[[], None]) -> None:
        """PM2 asks with a message where `shutdown_with_message` is set; it sends no signal then."""
        if self._pm2 is not None:
            selector.register(self._pm2, selectors.EVENT_READ, lambda _: self._hear(selector, on_shutdown))

    def next_at(self) -> float:
        """When `turn` has something to say though nothing happens."""
        watchdog_at = self._watchdog_at if self._systemd and self._watchdog_seconds else float("inf")
        return min(watchdog_at, self._metrics_at if self._pm2 is not None else float("inf"))

    def turn(self, now: float, text: str, metrics: Callable[[], Mapping[str, str]], *, extends: bool) -> None:
        """Once in each round of the loop: the status when it has changed, the rest when it is due.

        `extends`: we start or stop, by deadlines of our own; systemd's shall not cut them short.
        """
        self.status(text)
        if self._watchdog_seconds and now >= self._watchdog_at:
            self._watchdog_at = now + self._watchdog_seconds / 2
            self._tell_systemd("WATCHDOG=1")
        if extends and now >= self._extend_at:
            self._extend_at = now + EXTEND_EVERY_SECONDS
            self._tell_systemd(f"EXTEND_TIMEOUT_USEC={int(EXTENSION_SECONDS * 1e6)}")
        if self._pm2 is not None and now >= self._metrics_at:
            self._metrics_at = now + METRICS_SECONDS
            values = {name: {"value": value} for name, value in metrics().items()}
            self._tell_pm2(json.dumps({"type": "axm:monitor", "data": values}).encode())

    def ready(self) -> None:
        """The boot is decided, or a reload has ended."""
        self._tell_systemd("READY=1")

    def booted(self) -> None:
        self.ready()
        self._tell_pm2(b'"ready"')

    def reloading(self, now: float) -> None:
        """`now` is CLOCK_MONOTONIC, as systemd has it too."""
        self._tell_systemd(f"RELOADING=1\nMONOTONIC_USEC={int(now * 1e6)}")

    def status(self, text: str) -> None:
        """Said again only when it has changed."""
        if text != self._said:
            self._said = text
            self._tell_systemd(f"STATUS={text}")

    def stopping(self) -> None:
        self._tell_systemd("STOPPING=1")

    def _hear(self, selector: selectors.BaseSelector, on_shutdown: Callable[[], None]) -> None:
        assert self._pm2 is not None
        try:
            content = os.read(self._pm2, 4096)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:  # PM2 itself is gone; its children live on
            selector.unregister(self._pm2)
            os.close(self._pm2)
            self._pm2 = None
            return
        *lines, self._heard = (self._heard + content).split(b"\n")
        self._heard = self._heard[-4096:]
        if SHUTDOWN in lines:
            on_shutdown()

    def _tell_pm2(self, message: bytes) -> None:
        if self._pm2 is not None:
            with contextlib.suppress(OSError):
                os.write(self._pm2, message + b"\n")

    def _tell_systemd(self, message: str) -> None:
        if self._systemd is None:
            return
        address = self._systemd
        if address.startswith("@"):
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end, contextlib.suppress(OSError):
            end.setblocking(False)
            end.sendto(message.encode(), address)


def _watchdog_seconds() -> float:
    """How long systemd bears our silence; 0 where it does not watch us."""
    text, pid = os.environ.pop("WATCHDOG_USEC", ""), os.environ.pop("WATCHDOG_PID", "")
    if not text.isdecimal() or pid not in ("", str(os.getpid())):
        return 0.0
    return int(text) / 1e6


def _descriptor(number: str | None) -> int | None:
    if number is None or not number.isdecimal():
        return None
    try:
        os.set_inheritable(int(number), False)
        os.set_blocking(int(number), False)
    except OSError:
        return None
    return int(number)
