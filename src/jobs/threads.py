"""Where coroutines leave work that blocks, so that pictures, uploads and the database do not wait for each other."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

_beginning = threading.Lock()  # each pool is made once, whoever asks first
UPLOADS = 16  # at once in one worker, as many connections as S3's client keeps


async def computed(
    function: Callable[Parameters, Returned], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Returned:
    """What `function` gives, in one of as many threads as there are cores: work on pictures and texts."""
    return await asyncio.wrap_future(_begin(_computing, partial(function, *args, **kwargs)))


async def stored(
    function: Callable[Parameters, Returned], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Returned:
    """What `function` gives, in a thread that may wait for the storage."""
    return await asyncio.wrap_future(begin_storing(function, *args, **kwargs))


def begin_storing(
    function: Callable[Parameters, Returned], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Future[Returned]:
    """`stored` that is not waited for yet; from any thread."""
    return _begin(_storing, partial(function, *args, **kwargs))


def _begin(pool: Callable[[], ThreadPoolExecutor], function: Callable[[], Returned]) -> Future[Returned]:
    context = contextvars.copy_context()  # whose job this is, for what it logs
    with _beginning:
        return pool().submit(context.run, function)


@cache
def _computing() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "computing")


@cache
def _storing() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(UPLOADS, "storing")
