"""The second node's way to the database: a relay that can be cut as a network is."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Relay:
    """Listens on 127.0.0.1 and relays to a unix socket.

    `cut` breaks every connection on the client's side at once. What a client had said before still arrives at the
    server, late, as packets do that were on their way; new connections wait until the cut is over.
    """

    def __init__(self, server_path: str) -> None:
        self._server_path = server_path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._clients: set[socket.socket] = set()
        self._whole_at = 0.0  # monotonic; cut until then
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, seconds: float) -> int:
        """Cut for so long; how many connections were broken."""
        self._whole_at = time.monotonic() + seconds
        clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)  # the client hears the end; what it said is still read
        return len(clients)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._wait_until_whole()
        with client, socket.socket(socket.AF_UNIX) as server:
            try:
                server.connect(self._server_path)
            except OSError:
                return  # no server at this moment: the client hears the end
            self._clients.add(client)
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._pump(client, server)
            back.join()
            self._clients.discard(client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65536):
                self._wait_until_whole()
                sink.sendall(content)
        with contextlib.suppress(OSError):
            self._wait_until_whole()
            sink.shutdown(socket.SHUT_WR)
            source.shutdown(socket.SHUT_RD)

    def _wait_until_whole(self) -> None:
        while (pause := self._whole_at - time.monotonic()) > 0:
            time.sleep(pause)
