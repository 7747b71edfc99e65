"""@job and the registry: which function handles a kind, and whether a payload fits it."""

from __future__ import annotations

import inspect
import math
import os
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .models import read_model
from .outcomes import InvalidPayload, WrongField

if TYPE_CHECKING:
    from ..settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])

ATTEMPTS_LIMIT = 1000
BATCH_LIMIT = 10_000
BATCH_WAIT_LIMIT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Handler:
    """One kind's function and how it wants to be run."""

    kind: str
    function: Callable[..., Any]
    queue: str
    timeout_seconds: float | None  # None: the setting jobs.timeout
    max_attempts: int | None  # None: the setting jobs.max_attempts
    batch: int  # up to this many jobs in one call, whose first argument is then a list of payloads
    batch_wait_seconds: float = 0.0  # how long a batch that is not full may wait for more
    hand_back: bool = False  # a worker that drains gives its jobs back instead of waiting for them
    check: Callable[[Any, Settings], None] | None = None
    is_async: bool = field(init=False)
    takes_context: bool = field(init=False)
    payload_type: Any = field(init=False)
    payload_decoder: msgspec.json.Decoder[Any] = field(init=False)  # to convert costs ten times what this does

    def __post_init__(self) -> None:
        payload_type = _payload_type(self.function, batched=self.batch > 1)
        object.__setattr__(self, "is_async", inspect.iscoroutinefunction(self.function))
        object.__setattr__(self, "takes_context", len(_positional(self.function)) > 1)
        object.__setattr__(self, "payload_type", payload_type)
        object.__setattr__(
            self, "payload_decoder", msgspec.json.Decoder(payload_type, strict=False, dec_hook=read_model)
        )


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
    `(payload)` or `(payload, ctx)`. The payload's annotation, a msgspec Struct, a dataclass, a pydantic model or any
    type that msgspec converts to, is checked at enqueue and again before the call. What the function returns must
    be JSON; it becomes the job's result. `check(payload, settings)` raises WrongField for what the type alone cannot
    say, in the same places.

    With `batch > 1` one call takes up to so many jobs, and the first argument is a list of payloads. The first of them
    waits up to `batch_wait_seconds` for others. The function returns a list with an outcome for each payload, in
    order: a value, or an exception such as Retry(...) or Fail(...), which is that job's alone. What is no list is
    every job's result; what is raised fails every job of the call. A payload that does not fit never gets there.

    With `hand_back=True` a worker that has to leave does not wait for these jobs: a task is cancelled, a `def` handler
    is told at its next `ctx.raise_if_cancelled()`, and the job goes back at once, without a failure.
    """
    if not isinstance(kind, str):
        raise TypeError(f'@job is given the kind it handles: @job("image.make"), not {kind!r:.60}')
    _check_numbers(kind, queue, batch, batch_wait_seconds)
    if max_attempts is not None and not 1 <= max_attempts <= ATTEMPTS_LIMIT:
        raise ValueError(f"@job({kind!r}): max_attempts={max_attempts} is not between 1 and {ATTEMPTS_LIMIT}")
    if timeout_seconds is not None and not 0 < timeout_seconds < math.inf:
        raise ValueError(f"@job({kind!r}): timeout_seconds={timeout_seconds} is no time that an attempt may take")

    def register(function: Function) -> Function:
        _add(Handler(kind, function, queue, timeout_seconds, max_attempts, batch, batch_wait_seconds, hand_back, check))
        return function

    return register


def _add(handler: Handler) -> None:
    known = _registry.get(handler.kind)
    if known is not None and _place(known.function) != _place(handler.function):
        places = f"{_place(known.function)} and {_place(handler.function)}"
        raise ValueError(f"@job({handler.kind!r}) is registered twice: {places}")
    _registry[handler.kind] = handler


def _check_numbers(kind: str, queue: str, batch: int, batch_wait_seconds: float) -> None:
    if not 1 <= len(kind) <= 200 or not 1 <= len(queue) <= 200 or not 1 <= batch <= BATCH_LIMIT:
        raise ValueError(
            f"@job({kind!r:.40}): kind and queue have 1 to 200 characters and batch must be from 1 to {BATCH_LIMIT}"
        )
    if not 0 <= batch_wait_seconds <= BATCH_WAIT_LIMIT_SECONDS or (batch_wait_seconds and batch == 1):
        raise ValueError(
            f"@job({kind!r}): batch_wait_seconds={batch_wait_seconds} needs batch > 1 and lies between 0 and"
            f" {BATCH_WAIT_LIMIT_SECONDS}"
        )


def handlers() -> Mapping[str, Handler]:
    """Every registered handler by kind."""
    return _registry


def validate(handler: Handler, payload: Any) -> Any:
    """The payload as the handler's type. Raises InvalidPayload with the path of the wrong field.

    Non-strict: what a query string or JSON can mean is accepted ("3" for an int).
    """
    try:
        return _checked(handler, msgspec.convert(payload, handler.payload_type, strict=False, dec_hook=read_model))
    except (msgspec.ValidationError, WrongField) as error:
        raise _does_not_fit(handler, error) from None


def decode(handler: Handler, payload: msgspec.Raw) -> Any:
    """The JSON text of a payload as the handler's type; raises InvalidPayload as `validate` does."""
    try:
        fitting = handler.payload_decoder.decode(payload)
        return fitting if handler.check is None else _checked(handler, fitting)
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
    """Of a producer: those found upward from the current folder, as for its database; once. Raises Unusable."""
    if _settings is None:
        from ..settings import load_for_producer

        know_settings(load_for_producer(dict(os.environ), Path.cwd()).settings)
    assert _settings is not None
    return _settings


def _does_not_fit(handler: Handler, error: Exception) -> InvalidPayload:
    return InvalidPayload(f"{handler.kind}: payload does not fit: {error}")


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _wrong_function(function: Callable[..., Any]) -> str | None:
    """What keeps a function from being a handler, such as a Celery task's parameters."""
    parameters = list(inspect.signature(function).parameters.values())
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return "this one yields"
    if not parameters or parameters[0].kind is parameters[0].KEYWORD_ONLY:
        return "this one takes no payload"
    if parameters[0].name in ("self", "cls"):
        return "this one is a method"
    context = next(iter(_positional(function)[1:]), None)
    spared = (context, *(each for each in parameters[1:] if each.default is not each.empty))
    needed = [each for each in parameters[1:] if each not in spared and "VAR" not in each.kind.name]
    if needed or (context is not None and _is_no_context(function, context)):
        return "what else it needs are fields of the payload: a dataclass, a msgspec Struct or a dict"
    return None


def _positional(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [each for each in parameters if each.kind not in (each.KEYWORD_ONLY, each.VAR_KEYWORD)]


def _is_no_context(function: Callable[..., Any], parameter: inspect.Parameter) -> bool:
    plain = (str, int, float, bool, bytes, list, dict)
    given = typing.get_type_hints(function).get(parameter.name)
    return given in plain or isinstance(parameter.default, plain)


def _payload_type(function: Callable[..., Any], *, batched: bool) -> Any:
    if wrong := _wrong_function(function):
        raise ValueError(f"{_place(function)}: a handler takes (payload) or (payload, ctx) and returns; {wrong}")
    annotation = typing.get_type_hints(function).get(next(iter(inspect.signature(function).parameters)), Any)
    if batched:
        arguments = typing.get_args(annotation)
        return arguments[0] if arguments else Any
    return annotation
