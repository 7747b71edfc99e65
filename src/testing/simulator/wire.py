"""One HTTP request in, one answer out: the only module that touches sockets, and the one that misbehaves on them."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .faults import Fault, FaultKind

BODY_LIMIT_BYTES = 32 * 1024 * 1024
IDLE_SECONDS = 120.0
LOOK_SECONDS = 0.05
PROXY_PAGE = b"<html><body><h1>welcome to the gateway</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the protocols see it. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str


@dataclass(slots=True)
class Reply:
    """One answer. With `stream` it is sent piece by piece, each piece as it comes.

    `fault` is what the connection does to it; `on_sent` learns whether it left whole, and whether the client was
    gone already.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None
    fault: Fault | None = None
    on_sent: Callable[[bool, bool], None] | None = None


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value, ensure_ascii=False).encode(), headers=named)


class Server(ThreadingHTTPServer):
    """Listens on loopback; a thread for each connection."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, answer: Callable[[Call], Reply]) -> None:
        self.answer = answer
        self.stopped = threading.Event()
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is everyday; what we did wrong is shown."""
        import sys

        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """The ledger is the log."""

    def _serve(self) -> None:
        call = self._call()
        if call is None:
            return
        reply = self.server.answer(call)
        gone = self._client_gone()
        whole = False
        try:
            if not gone:
                whole = self._send(reply)
        finally:
            self.close_connection = self.close_connection or not whole
            if reply.on_sent is not None:
                reply.on_sent(whole, gone)

    do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the base class's names

    def _call(self) -> Call | None:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self.send_error(411)
            return None
        if int(length) > BODY_LIMIT_BYTES:
            self.send_error(413)
            return None
        url = urlsplit(self.path)
        return Call(
            method=self.command,
            path=url.path,
            query=dict(parse_qsl(url.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(length)),
            base_url=self.server.base_url,
        )

    def _send(self, reply: Reply) -> bool:
        """Whether the answer left whole and as it was meant."""
        kind = reply.fault.kind if reply.fault is not None else None
        if kind is FaultKind.HANG and reply.stream is None:
            self._wait_until_gone()
            return False
        if kind is FaultKind.RESET:
            self._reset()
            return False
        if kind is FaultKind.WRONG_TYPE:
            reply = Reply(200, PROXY_PAGE, "text/html; charset=utf-8")
        try:
            if reply.stream is not None:
                return self._send_stream(reply, reply.stream, kind)
            self._head(reply, {"Content-Length": str(len(reply.body))})
            half = kind is FaultKind.HALF_BODY
            self.wfile.write(reply.body[: len(reply.body) // 2] if half else reply.body)
            self.wfile.flush()
        except OSError:
            return False
        return kind not in (FaultKind.HALF_BODY, FaultKind.WRONG_TYPE)

    def _send_stream(self, reply: Reply, stream: Iterator[bytes], kind: FaultKind | None) -> bool:
        self._head(reply, {"Transfer-Encoding": "chunked"})
        for number, piece in enumerate(stream):
            if number == 2 and kind is FaultKind.HANG:
                self._wait_until_gone()
                return False
            if number == 2 and kind is FaultKind.HALF_BODY:
                return False
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        return True

    def _head(self, reply: Reply, more: Mapping[str, str]) -> None:
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.content_type, **reply.headers, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def _client_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        if not readable:
            return False
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _wait_until_gone(self) -> None:
        until = time.monotonic() + 3600
        while not self._client_gone() and time.monotonic() < until:
            if self.server.stopped.wait(LOOK_SECONDS):
                return

    def _reset(self) -> None:
        """Close so that the peer sees a reset instead of an end."""
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
