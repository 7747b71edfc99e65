"""Runs a handler as a worker would: payload checked, result turned into JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ..handler import Handler, handlers, miscounted, to_json, validate
from .context import LocalContext, LocalServices


def run(function: Callable[..., Any], payload: Any, ctx: LocalContext) -> Any:
    """What the job's result would be.

    The payload may be what `enqueue` takes: the handler's own type or plain JSON. A handler with `batch` gets a list of
    them, and what it says of one job by an exception in its list stands there as it is. Raises what the handler raises
    (Retry, Snooze, Fail, Cancel ...), InvalidPayload where the payload does not fit, and Fail where a list has not one
    outcome for each payload. Nothing of `timeout_seconds` and limits is simulated.
    """
    handler = _registered(function)
    given = [_checked(handler, one) for one in payload] if handler.batch > 1 else _checked(handler, payload)
    arguments = (given, ctx) if handler.takes_context else (given,)
    if handler.is_async:
        return _result(handler, given, asyncio.run(_whole(handler, arguments, ctx)))
    return _result(handler, given, handler.function(*arguments))


def _registered(function: Callable[..., Any]) -> Handler:
    for handler in handlers().values():
        if handler.function is function:
            return handler
    raise ValueError(f"{getattr(function, '__qualname__', function)} is no handler; decorate it with @job(kind)")


def _checked(handler: Handler, payload: Any) -> Any:
    return validate(handler, {} if payload is None else to_json(payload))


def _result(handler: Handler, given: Any, returned: Any) -> Any:
    if handler.batch > 1 and isinstance(returned, list | tuple):
        if len(returned) != len(given):
            raise miscounted(len(returned), len(given))
        return [each if isinstance(each, BaseException) else to_json(each) for each in returned]
    return to_json(returned)


async def _whole(handler: Handler, arguments: tuple[Any, ...], ctx: LocalContext) -> Any:
    try:
        return await handler.function(*arguments)
    finally:
        if isinstance(ctx.services, LocalServices):
            await ctx.services.close()
