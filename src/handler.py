"""What handlers and workers both know: @job, the registry, Context, and the outcomes a handler may raise."""

from __future__ import annotations

import datetime as dt
import inspect
import math
import os
import re
import time
import typing
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from .contract import WorkerctlError

if TYPE_CHECKING:
    import httpx
    import psycopg

    from .settings import Settings

_REMEMBER = "SELECT workerctl.remember(%s::bigint, %s::integer, %s::text, %s::jsonb)"
_REMEMBERED = "SELECT value FROM workerctl.memory WHERE job_id = %s::bigint AND key = %s::text"

Function = TypeVar("Function", bound=Callable[..., Any])

PAYLOAD_LIMIT_BYTES = 1024 * 1024
PROGRESS_LIMIT = 2**53
BATCH_LIMIT = 10_000
BATCH_WAIT_LIMIT_SECONDS = 3600
MEMORY_LIMIT_BYTES = 64 * 1024
MEMORY_KEY_LIMIT = 200  # characters
OPTIONS = frozenset({"queue", "priority", "run_at", "unique_key", "user_id", "plan", "max_attempts"})


class InvalidPayload(WorkerctlError):
    """The payload does not fit its handler's type; the message has the path of the wrong field."""


class WrongField(ValueError):
    """Raised by a kind's check of its payload: one field cannot be, for a reason that its type does not say."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{reason} - at `$.{path}`")


class Refused(WorkerctlError):
    """A job that the queue does not take; the message says which part of it and why."""


class QueueFull(Refused):
    """Admission: too many jobs of this plan or kind are pending. Try again after `retry_after_seconds`."""

    def __init__(self, reason: str, retry_after_seconds: float) -> None:
        super().__init__(f"{reason}; try again in {retry_after_seconds:.0f} s")
        self.retry_after_seconds = retry_after_seconds


class Retry(Exception):
    """Raised by a handler: this attempt failed; try again after `after_seconds`, else after the usual delay."""

    def __init__(self, reason: str = "", *, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class Snooze(Exception):
    """Raised by a handler: not now, ask again after `after_seconds`. Costs no failure."""

    def __init__(self, after_seconds: float, reason: str = "") -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds


class Cancel(Exception):
    """Raised by a handler: this job is not wanted any more; it ends `cancelled`."""


class ClaimLost(Cancel):
    """This attempt is not the job's any more: the worker had been given up. Nothing that it says is written."""


class Fail(Exception):
    """Raised by a handler: no later attempt can succeed; the job ends `dead` at once with this reason."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One kind's function and how it wants to be run."""

    kind: str
    function: Callable[..., Any]
    queue: str
    timeout_seconds: float | None  # None: the setting jobs.timeout
    max_attempts: int | None  # None: the setting jobs.max_attempts
    batch: int  # up to this many jobs in one call, whose first argument is then a list of payloads
    payload_type: Any
    is_async: bool
    takes_context: bool
    batch_wait_seconds: float = 0.0  # how long a batch that is not full may wait for more
    hand_back: bool = False  # a worker that drains gives its jobs back instead of waiting for them
    check: Callable[[Any, Settings], None] | None = None
    payload_decoder: msgspec.json.Decoder[Any] = field(init=False)  # to convert costs ten times what this does

    def __post_init__(self) -> None:
        object.__setattr__(self, "payload_decoder", msgspec.json.Decoder(self.payload_type, strict=False))


_registry: dict[str, Handler] = {}
_settings: Settings | None = None  # that checks of payloads go by


def job(
    kind: str,
    *,
    queue: str = "default",
    timeout_seconds: float | None = None,
    max_attempts: int | None = None,
    batch: int = 1,
    batch_wait_seconds: float = 0.0,
    hand_back: bool = False,
    check: Callable[[Any, Settings], None] | None = None,
) -> Callable[[Function], Function]:
    """Register a function as the handler of `kind`.

    The function is `async def` (one task in the worker's loop) or `def` (one thread a job) and takes
    `(payload)` or `(payload, ctx)`. The payload's annotation, a msgspec Struct, a dataclass or any type that
    msgspec converts to, is checked at enqueue and again before the call. What the function returns must be JSON;
    it becomes the job's result. `check(payload, settings)` raises WrongField for what the type alone cannot say, in
    the same places.

    With `batch > 1` one call takes up to so many jobs, and the first argument is a list of payloads. The first of them
    waits up to `batch_wait_seconds` for others. The function returns a list with an outcome for each payload, in
    order: a value, or an exception such as Retry(...) or Fail(...), which is that job's alone. What is no list is
    every job's result; what is raised fails every job of the call. A payload that does not fit never gets there.

    With `hand_back=True` a worker that has to leave does not wait for these jobs: a task is cancelled, a `def` handler
    is told at its next `ctx.raise_if_cancelled()`, and the job goes back at once, without a failure.
    """
    if not kind or not queue or not 1 <= batch <= BATCH_LIMIT:
        raise ValueError(f"@job({kind!r}): kind and queue must not be empty and batch must be from 1 to {BATCH_LIMIT}")
    if not 0 <= batch_wait_seconds <= BATCH_WAIT_LIMIT_SECONDS or (batch_wait_seconds and batch == 1):
        raise ValueError(
            f"@job({kind!r}): batch_wait_seconds={batch_wait_seconds} needs batch > 1 and lies between 0 and"
            f" {BATCH_WAIT_LIMIT_SECONDS}"
        )

    def register(function: Function) -> Function:
        known = _registry.get(kind)
        if known is not None and _place(known.function) != _place(function):
            raise ValueError(f"@job({kind!r}) is registered twice: {_place(known.function)} and {_place(function)}")
        _registry[kind] = Handler(
            kind=kind,
            function=function,
            queue=queue,
            timeout_seconds=timeout_seconds,
            max_attempts=max_attempts,
            batch=batch,
            payload_type=_payload_type(function, batched=batch > 1),
            is_async=inspect.iscoroutinefunction(function),
            takes_context=len(inspect.signature(function).parameters) > 1,
            batch_wait_seconds=batch_wait_seconds,
            hand_back=hand_back,
            check=check,
        )
        return function

    return register


def handlers() -> Mapping[str, Handler]:
    """Every registered handler by kind."""
    return _registry


def validate(handler: Handler, payload: Any) -> Any:
    """The payload as the handler's type. Raises InvalidPayload with the path of the wrong field.

    Non-strict: what a query string or JSON can mean is accepted ("3" for an int).
    """
    try:
        return _checked(handler, msgspec.convert(payload, handler.payload_type, strict=False))
    except (msgspec.ValidationError, WrongField) as error:
        raise _does_not_fit(handler, error) from None


def decode(handler: Handler, payload: msgspec.Raw) -> Any:
    """The JSON text of a payload as the handler's type; raises InvalidPayload as `validate` does."""
    try:
        return _checked(handler, handler.payload_decoder.decode(payload))
    except (msgspec.ValidationError, WrongField) as error:
        raise _does_not_fit(handler, error) from None


def know_settings(settings: Settings) -> None:
    """Checks of payloads go by these settings from now on, in this process and in those forked from it."""
    global _settings
    _settings = settings


def _checked(handler: Handler, fitting: Any) -> Any:
    if handler.check is not None:
        handler.check(fitting, _known_settings())
    return fitting


def _known_settings() -> Settings:
    """Of a producer: those found from the current folder, as for its database; once. Raises Unusable."""
    if _settings is None:
        from .settings import load

        know_settings(load(None, None, dict(os.environ), Path.cwd()).settings)
    assert _settings is not None
    return _settings


def _does_not_fit(handler: Handler, error: Exception) -> InvalidPayload:
    return InvalidPayload(f"{handler.kind}: payload does not fit: {error}")


class Services(Protocol):
    """What a worker lends to the contexts of its jobs. Everything is made on first use."""

    @property
    def storage(self) -> Any: ...
    @property
    def http(self) -> httpx.AsyncClient: ...
    @property
    def settings(self) -> Any: ...
    def database(self) -> AbstractContextManager[psycopg.Connection[Any]]: ...


class Job(msgspec.Struct, frozen=True):
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
        """Say how far this attempt is. Raises ValueError unless 0 <= done <= total <= 2**53."""
        if not 0 <= done <= total <= PROGRESS_LIMIT:
            raise ValueError(f"progress({done}, {total}): done must lie between 0 and total")
        self.progress_now = (done, total)

    def log(self, message: str, *, level: str = "info", **fields: Any) -> None:
        """Add a row to the execution log within about two seconds. A worker that dies loses its last second at most."""
        now = dt.datetime.now(dt.UTC).isoformat()
        self.logged.append({"job_id": self.job.id, "attempt": self.job.attempt, "level": level,
                            "message": message, "fields": fields, "logged_at": now})  # fmt: skip

    def enqueue(self, kind: str, payload: Any = None, *, child: bool = False, **options: Any) -> None:
        """Enqueue a job together with this attempt's settlement.

        With `child=True` this job becomes the parent: it waits until every child is done and its own result
        gains their counts; a batch call has no one parent, and is refused. Options are those of `workerctl.enqueue`
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
        content = {**(to_json(payload) or {}), "parent": self.job.id}
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
    content = None if value is None else msgspec.json.encode(to_json(value))
    if not key or len(key) > MEMORY_KEY_LIMIT:
        raise ValueError(f"remember({key[:40]!r}): a key has 1 to {MEMORY_KEY_LIMIT} characters")
    if content is not None and (len(content) > MEMORY_LIMIT_BYTES or holds_nul(content)):
        raise ValueError(f"remember({key!r}): at most {MEMORY_LIMIT_BYTES} bytes of JSON, without the character NUL")
    return None if content is None else content.decode()


def job_spec(kind: str, payload: Any = None, **options: Any) -> dict[str, Any]:
    """One job as the database takes it, checked as far as this process can. Raises InvalidPayload and Refused."""
    unknown = options.keys() - OPTIONS
    if unknown:
        raise Refused(f"{kind}: unknown option {min(unknown)!r}; there are {', '.join(sorted(OPTIONS))}")
    if not -100 <= (options.get("priority") or 0) <= 100:
        raise Refused(f"{kind}: priority {options['priority']} is not between -100 and 100")
    if not 1 <= (options.get("max_attempts") or 1) <= 1000:
        raise Refused(f"{kind}: max_attempts {options['max_attempts']} is not between 1 and 1000")
    content = {} if payload is None else to_json(payload)
    if kind in _registry:
        validate(_registry[kind], content)
    text = msgspec.json.encode(content)
    if b"null" in text and _holds_no_number(content):
        raise InvalidPayload(f"{kind}: payload holds NaN or an infinity, which JSON does not have")
    size = len(text)
    if size > PAYLOAD_LIMIT_BYTES:
        raise Refused(f"{kind}: payload of {size} bytes is over 1 MiB; put it into storage and pass its key")
    spec = {"kind": kind, "payload": content} | {name: value for name, value in options.items() if value is not None}
    if holds_nul(msgspec.json.encode(spec)):
        raise Refused(f"{kind}: the character NUL is in it, which PostgreSQL cannot store")
    return spec


def holds_nul(json_text: bytes) -> bool:
    """Whether a JSON text holds the character NUL, which PostgreSQL's jsonb cannot store."""
    return b"\\u0000" in json_text and re.search(rb"(?<!\\)(?:\\\\)*\\u0000", json_text) is not None


def to_json(payload: Any) -> Any:
    """The payload as plain JSON types: mappings, lists, strings, numbers. Raises InvalidPayload where it has none."""
    try:
        return msgspec.to_builtins(payload, str_keys=True)
    except (TypeError, msgspec.MsgspecError) as error:
        raise InvalidPayload(f"payload is not JSON: {error}") from None


def _holds_no_number(content: Any) -> bool:
    """Whether a number in it would silently become null."""
    match content:
        case float():
            return not math.isfinite(content)
        case dict():
            return any(map(_holds_no_number, content.values()))
        case list() | tuple():
            return any(map(_holds_no_number, content))
    return False


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _payload_type(function: Callable[..., Any], *, batched: bool) -> Any:
    parameters = list(inspect.signature(function).parameters)
    if not parameters:
        raise ValueError(f"{_place(function)}: a handler takes (payload) or (payload, ctx)")
    annotation = typing.get_type_hints(function).get(parameters[0], Any)
    if batched:
        arguments = typing.get_args(annotation)
        return arguments[0] if arguments else Any
    return annotation
