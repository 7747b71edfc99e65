"""`@cached`: what a worker has looked up lately, such as a user's plan. Per process, bounded, one look-up for all."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from cachetools import TTLCache

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Covariant = TypeVar("Covariant", covariant=True)

KeyOf = Callable[[tuple[Any, ...], dict[str, Any]], Hashable]

TTL_SECONDS = {"plan": 300.0, "permission": 600.0, "quota": 30.0}
ENTRIES = 10_000

_caches: list[_Cache] = []


@dataclass(frozen=True, slots=True)
class Counts:
    """What the caches of one use have done in this process. Who waited for another's look-up counts as a hit."""

    hits: int
    misses: int
    entries: int


class Cached(Protocol, Generic[Parameters, Covariant]):
    """A function with a memory."""

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Covariant: ...

    def forget(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        """Look up again at the next call with these arguments, as after a change of one's own."""
        ...


def cached(
    use: str,
    *,
    ttl_seconds: float | None = None,
    entries: int = ENTRIES,
    key: Callable[Parameters, Hashable] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[Callable[Parameters, Returned]], Cached[Parameters, Returned]]:
    """Remember what a function (`def` or `async def`) gives for its arguments, which must be hashable; `key` may say
    what of them matters.

    Kept for the use's time, plan 5 min, permission 10 min, quota 30 s, or `ttl_seconds`; at most `entries`, of which
    the one unused longest goes first. Calls that come while the same one is under way wait for it. What raises is not
    remembered, but whoever waits for it shares the exception. Other processes learn of a change when the time is over.
    """
    if ttl_seconds is None and use not in TTL_SECONDS:
        raise ValueError(f"@cached({use!r}): say ttl_seconds, or one of {', '.join(TTL_SECONDS)}")
    key_of = _key if key is None else lambda args, kwargs: key(*args, **kwargs)
    cache = _Cache(use, TTL_SECONDS[use] if ttl_seconds is None else ttl_seconds, entries, clock, key_of)

    def wrap(function: Callable[Parameters, Returned]) -> Cached[Parameters, Returned]:
        wrapper = _async_wrapper if inspect.iscoroutinefunction(function) else _wrapper
        remembered: Any = functools.wraps(function)(wrapper(function, cache))
        remembered.forget = lambda *args, **kwargs: cache.forget(key_of(args, kwargs))
        _caches.append(cache)
        return cast("Cached[Parameters, Returned]", remembered)

    return wrap


def cache_counts() -> dict[str, Counts]:
    """Of every use in this process."""
    found: dict[str, Counts] = {}
    for cache in _caches:
        before = found.get(cache.use, Counts(0, 0, 0))
        now = cache.counts()
        found[cache.use] = Counts(
            before.hits + now.hits, before.misses + now.misses, before.entries + now.entries
        )  # fmt: skip
    return found


def forget_all() -> None:
    """Nothing is remembered in this process any more; for tests."""
    for cache in _caches:
        cache.clear()


class _Cache:
    """Values, and look-ups under way, behind one lock. A look-up is a future of the kind that its callers wait for."""

    def __init__(self, use: str, ttl_seconds: float, entries: int, clock: Callable[[], float], key_of: KeyOf) -> None:
        from cachetools import TTLCache  # most have no cache, but every worker counts them

        self.use = use
        self.key_of = key_of
        self._values: TTLCache[Hashable, Any] = TTLCache(entries, ttl_seconds, clock)
        self._under_way: dict[Hashable, Any] = {}
        self._lock = threading.Lock()
        self._hits = self._misses = 0

    def found(self, key: Hashable, make_future: Callable[[], Any]) -> tuple[Any, bool]:
        """(the value in a list, False), or (the look-up under way, whether it is the caller's to do)."""
        with self._lock:
            if key in self._values:
                self._hits += 1
                return [self._values[key]], False
            if key in self._under_way:
                self._hits += 1
                return self._under_way[key], False
            self._misses += 1
            self._under_way[key] = future = make_future()
            return future, True

    def keep(self, key: Hashable, future: Any) -> None:
        """The look-up has ended. What was forgotten meanwhile is not kept."""
        with self._lock:
            if key in self._under_way and self._under_way[key] is future:
                del self._under_way[key]
                if not future.cancelled() and future.exception() is None:
                    self._values[key] = future.result()

    def forget(self, key: Hashable) -> None:
        with self._lock:
            self._values.pop(key, None)
            self._under_way.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()

    def counts(self) -> Counts:
        with self._lock:
            return Counts(self._hits, self._misses, len(self._values))


def _async_wrapper(function: Callable[..., Any], cache: _Cache) -> Callable[..., Any]:
    async def look_up(*args: Any, **kwargs: Any) -> Any:
        key = cache.key_of(args, kwargs)
        # A task of its own: a caller that is cancelled takes the look-up from nobody else.
        found, is_mine = cache.found(key, lambda: asyncio.ensure_future(function(*args, **kwargs)))
        if isinstance(found, list):
            return found[0]
        if is_mine:
            found.add_done_callback(functools.partial(cache.keep, key))
        return await asyncio.shield(found)

    return look_up


def _wrapper(function: Callable[..., Any], cache: _Cache) -> Callable[..., Any]:
    def look_up(*args: Any, **kwargs: Any) -> Any:
        key = cache.key_of(args, kwargs)
        found, is_mine = cache.found(key, Future)
        if isinstance(found, list):
            return found[0]
        if is_mine:
            try:
                found.set_result(function(*args, **kwargs))
            except BaseException as error:
                found.set_exception(error)
            cache.keep(key, found)
        return found.result()

    return look_up


def _key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    return (args, tuple(sorted(kwargs.items()))) if kwargs else args
