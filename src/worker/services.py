"""What a worker lends to handlers, each made on first use: storage, an HTTP client, a second database connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..broker.connection import connect
from ..broker.found import Database
from ..settings import Settings

if TYPE_CHECKING:
    import httpx
    import psycopg

HTTP_TIMEOUT_SECONDS = 60.0
HTTP_KEPT_CONNECTIONS = 100  # the jobs in hand bound how many are open


class WorkerServices:
    """One of each per worker process."""

    def __init__(self, settings: Settings, home: Path, database: Database) -> None:
        self.settings = settings
        self._home = home
        self._database = database
        self._making = threading.Lock()
        self._storage: Any = None
        self._http: httpx.AsyncClient | None = None
        self._seat = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def storage(self) -> Any:
        """The configured storage."""
        with self._making:
            if self._storage is None:
                from ..storage import open_storage

                self._storage = open_storage(self.settings.storage, self._home)
            return self._storage

    @property
    def http(self) -> httpx.AsyncClient:
        """One pooled client for the handlers' loop, speaking HTTP/2 where the other side does."""
        with self._making:
            if self._http is None:
                import httpx

                limits = httpx.Limits(max_connections=None, max_keepalive_connections=HTTP_KEPT_CONNECTIONS)
                self._http = httpx.AsyncClient(
                    http2=True, timeout=HTTP_TIMEOUT_SECONDS, follow_redirects=True, limits=limits
                )
            return self._http

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[Any]]:
        """The worker's second connection, for one handler at a time; in `async def` use it inside a thread."""
        with self._seat:
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._database.url, application="handler", pooled=self._database.pooled)
            yield self._connection
