"""Tells whoever wraps us, systemd or PM2, what we are doing."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """Speaks to NOTIFY_SOCKET and NODE_CHANNEL_FD where they exist; takes both out of the environment."""

    def __init__(self) -> None:
        self._systemd = os.environ.pop("NOTIFY_SOCKET", None)
        self._said = ""
        self._pm2 = _descriptor(os.environ.pop("NODE_CHANNEL_FD", None))

    @property
    def listens(self) -> bool:
        """Whether anybody wants to know more than ready and stopping."""
        return self._systemd is not None

    def ready(self) -> None:
        self._tell_systemd("READY=1")
        if self._pm2 is not None:
            with contextlib.suppress(OSError):
                os.write(self._pm2, b'"ready"\n')

    def status(self, text: str) -> None:
        """Said again only when it has changed."""
        if text != self._said:
            self._said = text
            self._tell_systemd(f"STATUS={text}")

    def stopping(self) -> None:
        self._tell_systemd("STOPPING=1")

    def _tell_systemd(self, message: str) -> None:
        if self._systemd is None:
            return
        address = self._systemd
        if address.startswith("@"):
            address = "\0" + address[1:]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end, contextlib.suppress(OSError):
            end.setblocking(False)
            end.sendto(message.encode(), address)


def _descriptor(number: str | None) -> int | None:
    if number is None or not number.isdecimal():
        return None
    try:
        os.set_inheritable(int(number), False)
        os.set_blocking(int(number), False)
    except OSError:
        return None
    return int(number)
