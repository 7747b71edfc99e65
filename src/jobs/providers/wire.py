"""One request to a provider over the worker's HTTP client: bounded in bytes and time, its failures named."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .answers import Broken, Rejected, Throttled, Unsettled, check_answer

if TYPE_CHECKING:
    import httpx

    from ... import Context
    from .account import Account


Fetched = TypeVar("Fetched")


class Unusable(Exception):
    """What came is not what was asked for, and may not be what the provider sent."""


ERROR_LIMIT_BYTES = 64 * 1024
FETCH_TRIES = 3
FETCH_PAUSE_SECONDS = 0.5  # where the host of a download says "too many" without saying for how long; then twice that
LONGEST_FETCH_PAUSE_SECONDS = 5.0  # for longer the job is not kept in hand


@asynccontextmanager
async def asked(
    ctx: Context,
    account: Account,
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    within_seconds: float | None = None,
) -> AsyncIterator[httpx.Response]:
    """The answer, its body not read yet; the whole of it `within_seconds`, else as the settings say.

    Raises CallFailed for anything but success.
    """
    import httpx

    settings = account.settings
    whole_seconds = min(within_seconds or settings.timeout_seconds, settings.timeout_seconds)
    timeout = httpx.Timeout(settings.read_timeout_seconds, connect=settings.connect_timeout_seconds)
    given = {"Content-Type": "application/json"} if body is not None else {}
    try:
        async with (
            asyncio.timeout(whole_seconds),
            ctx.http.stream(
                method,
                url,
                content=body,
                headers=given | (headers or {}),
                timeout=timeout,
                follow_redirects=not headers,
            ) as response,
        ):
            if not response.is_success:
                words = await _beginning(response)
                check_answer(response.status_code, response.headers, words, dt.datetime.now(dt.UTC))
                raise Broken(f"{response.status_code}: neither an answer nor an error")
            yield response
    except TimeoutError:
        raise Unsettled(f"no whole answer within {whole_seconds:g} s") from None
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise Broken(f"cannot be reached: {error or type(error).__name__}") from None
    except (httpx.TransportError, httpx.DecodingError, httpx.TooManyRedirects) as error:
        raise Unsettled(f"cut off: {type(error).__name__}: {error}") from None


async def whole(response: httpx.Response, limit_bytes: int) -> bytes:
    """The body. Raises Unusable past the limit, before it is read further."""
    return b"".join([block async for block in blocks(response, limit_bytes)])


async def blocks(response: httpx.Response, limit_bytes: int) -> AsyncIterator[bytes]:
    """The body as it comes. Raises Unusable past the limit, before it is read further."""
    size = int(announced) if (announced := response.headers.get("content-length", "")).isdecimal() else 0
    if size > limit_bytes:
        raise Unusable(f"an answer of {size:,} bytes; at most {limit_bytes:,} are taken")
    size = 0
    async for block in response.aiter_bytes():
        size += len(block)
        if size > limit_bytes:
            raise Unusable(f"an answer of more than {limit_bytes:,} bytes")
        yield block


async def fetched(ctx: Context, account: Account, url: Any, limit_bytes: int, types: str) -> bytes:
    """What lies at an address that the provider gave, without our key; of a content type that starts with `types`.

    A cut download costs nothing, so it is tried again at once. One that has to wait a little is waited for here: to let
    the job go for that would have the whole fleet leave the provider alone.
    """

    async def read() -> bytes:
        async with asked(ctx, account, "GET", url) as response:
            check_type(response, types)
            return await whole(response, limit_bytes)

    return await _tried(url, read)


async def downloaded(ctx: Context, account: Account, url: Any, path: Path, limit_bytes: int, types: str) -> None:
    """Like `fetched`, block by block into a file."""

    async def write() -> None:
        async with asked(ctx, account, "GET", url) as response:
            check_type(response, types)
            with path.open("wb") as file:
                async for block in blocks(response, limit_bytes):
                    file.write(block)  # into the page cache: quicker than a thread's turn

    await _tried(url, write)


async def _tried(url: Any, fetch: Callable[[], Awaitable[Fetched]]) -> Fetched:
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise Unusable(f"it named no web address but {str(url)[:80]!r}")
    for left in range(FETCH_TRIES - 1, -1, -1):
        try:
            return await fetch()
        except Throttled as error:
            pause = FETCH_PAUSE_SECONDS * (FETCH_TRIES - left) if error.after_seconds is None else error.after_seconds
            if not left or pause > LONGEST_FETCH_PAUSE_SECONDS:
                raise Throttled(f"what it made: {error}", error.after_seconds, made=True) from None
            await asyncio.sleep(pause)
        except Rejected as error:  # the address has expired, perhaps: the picture itself was not refused
            raise Unusable(f"what it made cannot be fetched: {error}") from None
        except (Broken, Unsettled) as error:
            if not left:
                raise Unsettled(f"what it made cannot be fetched: {error}") from None
        except Unusable:
            if not left:
                raise
    raise AssertionError("not reached")


def check_type(response: httpx.Response, types: str) -> None:
    """Raise Unusable where the answer is of another type, as a proxy's page is."""
    kind = response.headers.get("content-type", "")
    if not kind.startswith(types):
        raise Unusable(f"it sent {kind[:80] or 'no content type'} for {types}")


async def _beginning(response: httpx.Response) -> bytes:
    """As much of an error's body as is worth reading; a cut one says what it says."""
    import httpx

    found = b""
    try:
        async for block in response.aiter_bytes():
            found += block
            if len(found) >= ERROR_LIMIT_BYTES:
                break
    except httpx.TransportError:
        pass
    return found[:ERROR_LIMIT_BYTES]
