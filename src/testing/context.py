"""A context for handlers under test: real storage in a folder, no database, fakes for provider and clock."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..handler import Context, Job, memory_text
from .clock import Clock
from .provider import Provider, client

if TYPE_CHECKING:
    import httpx
    import psycopg

    from ..settings import Settings
    from ..storage import Storage

TIMEOUT_SECONDS = 300.0


class LocalServices:
    """What a worker lends to its handlers, as far as there is no database."""

    def __init__(self, storage: Storage, settings: Settings, provider: Provider | None) -> None:
        self.storage = storage
        self.settings = settings
        self.provider = provider
        self._http: httpx.AsyncClient | None = None

    @property
    def http(self) -> httpx.AsyncClient:
        """One client, which reaches the given provider alone."""
        if self._http is None or self._http.is_closed:
            self._http = client(self.provider)
        return self._http

    def database(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """There is none. Raises RuntimeError saying what to do instead."""
        raise RuntimeError("this context has no database; test what needs one with a worker and a real PostgreSQL")

    async def close(self) -> None:
        """Close the client; the next use of it makes another."""
        if self._http is not None:
            await self._http.aclose()


class LocalContext(Context, eq=False):
    """A Context whose `progress_now`, `logged`, `enqueued` and `memory` a test reads; its clock is the test's."""

    clock: Clock = msgspec.field(default_factory=Clock)
    memory: dict[str, Any] = msgspec.field(default_factory=dict)

    def seconds_left(self) -> float:
        """Seconds until the attempt times out, by the test's clock; never negative."""
        return max(0.0, self.deadline - self.clock())

    def remember(self, key: str, value: Any) -> None:
        """As in a worker, but kept in `memory`."""
        text = memory_text(key, value)
        if text is None:
            self.memory.pop(key, None)
        else:
            self.memory[key] = msgspec.json.decode(text)

    def remembered(self, key: str, default: Any = None) -> Any:
        """What an attempt of this job remembered, else `default`."""
        return self.memory.get(key, default)

    def next_attempt(self) -> LocalContext:
        """The context of the job's next attempt: same storage, provider, clock and memory, all else new."""
        job = msgspec.structs.replace(self.job, attempt=self.job.attempt + 1, failures=self.job.failures + 1)
        return LocalContext(job, self.services, self.clock() + TIMEOUT_SECONDS, clock=self.clock, memory=self.memory)


def context(
    folder: Path, *, kind: str = "test.job", provider: Provider | None = None, settings: Settings | None = None,
    **job: Any,
) -> LocalContext:  # fmt: skip
    """A context whose objects lie in `folder`, for `run` or for a call of the handler.

    `provider` answers what the handler asks through `ctx.http`: a function from httpx.Request to httpx.Response, or
    a Simulator; without it every request fails. `job` are further fields of `ctx.job`: user_id, plan, attempt ...
    """
    from ..settings import Settings, StorageSettings
    from ..storage import open_storage

    storage = open_storage(StorageSettings(url="file:"), Path(folder))
    services = LocalServices(storage, settings or Settings(), provider)
    fields: dict[str, Any] = {"id": 1, "kind": kind} | job
    return LocalContext(Job(**fields), services, TIMEOUT_SECONDS)
