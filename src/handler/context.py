"""What a handler is given: its job, and what its worker lends it for one attempt."""

from __future__ import annotations

import datetime as dt
import operator
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from .outcomes import Cancel, ClaimLost, InvalidPayload, Refused
from .spec import PAYLOAD_LIMIT_BYTES, job_spec
from .texts import holds_no_number, holds_nul, loggable, storable, to_json

if TYPE_CHECKING:
    import httpx
    import psycopg


_REMEMBER = "SELECT workerctl.remember(%s::bigint, %s::integer, %s::text, %s::jsonb)"
_REMEMBERED = "SELECT value FROM workerctl.memory WHERE job_id = %s::bigint AND key = %s::text"

PROGRESS_LIMIT = 2**53
MEMORY_LIMIT_BYTES = 64 * 1024
MEMORY_KEY_LIMIT = 200  # characters


class Services(Protocol):
    """What a worker lends to the contexts of its jobs. Everything is made on first use."""

    @property
    def storage(self) -> Any: ...
    @property
    def http(self) -> httpx.AsyncClient: ...
    @property
    def settings(self) -> Any: ...
    def database(self) -> AbstractContextManager[psycopg.Connection[Any]]: ...


class Job(msgspec.Struct, frozen=True, gc=False):
    """What a handler may know about the job it runs."""

    id: int
    kind: str
    queue: str = "default"
    attempt: int = 1
    failures: int = 0
    max_attempts: int = 3
    priority: int = 0
    user_id: str | None = None
    plan: str | None = None
    parent_id: int | None = None
    created_at: dt.datetime | None = None


class Context(msgspec.Struct, eq=False):
    """One attempt's view of the world, handed to the handler. Its methods may be called from any thread.

    `progress` is the latest wins and reaches the database within about a second. What `enqueue` collects is
    written in the statement that settles this attempt, so it exists if and only if the attempt counted.
    """

    job: Job  # of a batch call the first
    services: Services
    deadline: float = float("inf")  # monotonic instant at which the attempt times out
    progress_now: tuple[int, int] | None = None
    enqueued: list[dict[str, Any]] = []
    logged: list[dict[str, Any]] = []
    done_next: dict[str, Any] | None = None
    cancel_requested: bool = False
    stop_reason: BaseException | None = None  # why the worker asked this attempt to stop, if it did
    jobs: tuple[Job, ...] = ()  # of a batch call, one for each payload; else empty

    @property
    def unwanted(self) -> bool:
        """Whether somebody cancelled the job; not so where its worker leaves and the job goes on elsewhere."""
        return isinstance(self.stop_reason, Cancel) and not isinstance(self.stop_reason, ClaimLost)

    @property
    def storage(self) -> Any:
        """The configured storage (workerctl.storage.Storage): put, get, exists, delete, list, url."""
        return self.services.storage

    @property
    def http(self) -> httpx.AsyncClient:
        """The worker's one pooled httpx.AsyncClient; for `async def` handlers."""
        return self.services.http

    @property
    def settings(self) -> Any:
        """The effective settings (workerctl.settings.Settings)."""
        return self.services.settings

    def database(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        """A psycopg connection of this worker's own second seat; one handler at a time holds it."""
        return self.services.database()

    def progress(self, done: int, total: int) -> None:
        """Say how far this attempt is, in whole numbers. Raises ValueError unless 0 <= done <= total <= 2**53."""
        try:
            done, total = operator.index(done), operator.index(total)  # numpy's too, which are no JSON
        except TypeError:
            raise ValueError(f"progress({done!r}, {total!r}): expected two whole numbers") from None
        if not 0 <= done <= total <= PROGRESS_LIMIT:
            raise ValueError(f"progress({done}, {total}): done must lie between 0 and total")
        self.progress_now = (done, total)

    def log(self, message: str, *, level: str = "info", **fields: Any) -> None:
        """Add a row to the execution log within about two seconds. A worker that dies loses its last second at most.

        What cannot be stored is replaced: NUL in a text, a field that is no JSON by its repr. Raises ValueError for an
        entry over 1 MiB.
        """
        now = dt.datetime.now(dt.UTC).isoformat()
        entry = {"job_id": self.job.id, "attempt": self.job.attempt, "level": storable(str(level)),
                 "message": storable(str(message)), "logged_at": now,
                 "fields": {storable(name): loggable(value) for name, value in fields.items()}}  # fmt: skip
        if (size := len(msgspec.json.encode(entry))) > PAYLOAD_LIMIT_BYTES:
            raise ValueError(f"log entry of {size} bytes is over 1 MiB; put it into storage and log its key")
        self.logged.append(entry)

    def enqueue(self, kind: str, payload: Any = None, *, child: bool = False, **options: Any) -> None:
        """Enqueue a job together with this attempt's settlement.

        With `child=True` this job becomes the parent: it waits until every child is done and its own result
        gains their counts; a batch call has no one parent, and is refused. All children are written in one transaction,
        20 us each: beyond 50,000 make batches of batches. Options are those of `workerctl.enqueue`
        (queue, priority, run_at, unique_key, user_id, plan, max_attempts); user, plan and priority are this job's own
        unless given.
        """
        if child and self.jobs:
            raise Refused(f"{self.job.kind}: a batch call makes no children: it has no one parent")
        self.enqueued.append(job_spec(kind, payload, **{**self._inherited(), **options}) | {"child": child})

    def on_done(self, kind: str, payload: Any = None, **options: Any) -> None:
        """When this job's last child has ended, enqueue `kind`; it sees this job's id as its payload's `parent`.

        User, plan and priority are this job's own unless given.
        """
        if self.jobs:
            raise Refused(f"{self.job.kind}: a batch call has no children that could be done")
        content = {} if payload is None else to_json(payload)
        if not isinstance(content, dict):
            raise InvalidPayload(f"{kind}: a continuation's payload is an object: `parent` is added to it")
        content = content | {"parent": self.job.id}
        self.done_next = job_spec(kind, content, **{**self._inherited(), **options})

    def remember(self, key: str, value: Any) -> None:
        """Keep a value with the job for its next attempts; None forgets it. It is durable when this returns.

        For what must never be done twice, such as a provider's request id before waiting for the request. A value is
        JSON of at most 64 KiB, a job has 100 keys at most; it all goes when retention removes the job. Waits for the
        database: `async def` handlers call it by asyncio.to_thread. Raises ValueError for what does not fit,
        ClaimLost where the job is not this attempt's any more.
        """
        text = memory_text(key, value)
        with self.database() as connection:
            row = connection.execute(_REMEMBER, [self.job.id, self.job.attempt, key, text]).fetchone()
        if row is None or not row[0]:
            raise ClaimLost(f"job {self.job.id} is not attempt {self.job.attempt}'s any more")

    def remembered(self, key: str, default: Any = None) -> Any:
        """What an attempt of this job remembered under `key`, else `default`. Waits for the database."""
        with self.database() as connection:
            row = connection.execute(_REMEMBERED, [self.job.id, key]).fetchone()
        return default if row is None else row[0]

    def seconds_left(self) -> float:
        """Seconds until this attempt times out; never negative."""
        return max(0.0, self.deadline - time.monotonic())

    def raise_if_cancelled(self) -> None:
        """Raise Cancel where this attempt is not wanted any more; `def` handlers call it between steps.

        Somebody cancelled the job, its time is over, or its worker leaves and the job may be handed back.
        """
        if self.cancel_requested:
            raise Cancel("cancelled by request")

    def _inherited(self) -> dict[str, Any]:
        return {"user_id": self.job.user_id, "plan": self.job.plan, "priority": self.job.priority}


def memory_text(key: str, value: Any) -> str | None:
    """What a job remembers under a key, as JSON; None forgets it. Raises ValueError for what does not fit."""
    plain = to_json(value)
    content = None if value is None else msgspec.json.encode(plain)
    if not key or len(key) > MEMORY_KEY_LIMIT:
        raise ValueError(f"remember({key[:40]!r}): a key has 1 to {MEMORY_KEY_LIMIT} characters")
    if content is not None and (len(content) > MEMORY_LIMIT_BYTES or holds_nul(content)):
        raise ValueError(f"remember({key!r}): at most {MEMORY_LIMIT_BYTES} bytes of JSON, without the character NUL")
    if content is not None and b"null" in content and holds_no_number(plain):
        raise ValueError(f"remember({key!r}): NaN and infinities are no JSON")
    return None if content is None else content.decode()
