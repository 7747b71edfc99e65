"""Where coroutines leave work that blocks, so that pictures, uploads and the database do not wait for each other."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

UPLOADS = 16  # at once in one worker, as many connections as S3's client keeps


async def computed(
    function: Callable[Parameters, Returned], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Returned:
    """What `function` gives, in one of as many threads as there are cores: work on pictures and texts."""
    return await _in(_computing(), partial(function, *args, **kwargs))


async def stored(
    function: Callable[Parameters, Returned], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Returned:
    """What `function` gives, in a thread that may wait for the storage."""
    return await _in(_storing(), partial(function, *args, **kwargs))


async def _in(pool: ThreadPoolExecutor, function: Callable[[], Returned]) -> Returned:
    context = contextvars.copy_context()  # whose job this is, for what it logs
    return await asyncio.get_running_loop().run_in_executor(pool, partial(context.run, function))


@cache
def _computing() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "computing")


@cache
def _storing() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(UPLOADS, "storing")
