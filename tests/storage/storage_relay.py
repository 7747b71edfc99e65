"""The way to the S3 server: a relay on 127.0.0.1 that is slow, cuts connections or stops passing anything on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

BLOCK_BYTES = 65536


class Relay:
    """Passes bytes on until told otherwise; the numbers may change at any time and hold for new blocks."""

    def __init__(self, server: tuple[str, int]) -> None:
        self.pause_seconds = 0.0  # after each block to the server
        self.cuts = 0  # so many connections more are cut once `cut_after_bytes` have gone through
        self.cut_after_bytes = 0
        self.cuts_answers = False  # count, and cut, what comes from the server instead
        self.stalled = False  # nothing is read from clients
        self.connections = 0
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.stalled = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            self._open |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client, True), daemon=True)
            back.start()
            self._pump(client, server, False)
            back.join()
            self._open -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while content := source.recv(BLOCK_BYTES):
                while self.stalled and not is_answer:
                    time.sleep(0.01)  # a network has no condition to wait for
                if self.cuts and self.cuts_answers == is_answer and passed + len(content) > self.cut_after_bytes:
                    self.cuts -= 1
                    break
                sink.sendall(content)
                passed += len(content)
                if self.pause_seconds and not is_answer:
                    time.sleep(self.pause_seconds)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relay_to(url: str | None) -> Iterator[Relay]:
    address = urlsplit(url or "")
    assert address.hostname and address.port
    relay = Relay((address.hostname, address.port))
    try:
        yield relay
    finally:
        relay.close()
