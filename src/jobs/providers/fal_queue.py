"""fal.ai's queue: submit, remember, wait, fetch. A request that was remembered is never submitted again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from ... import Snooze
from .account import Account
from .answers import Broken, CallFailed, Rejected, Throttled, Unsettled, Useless
from .calls import Call, given_up
from .prices import Used
from .wire import Unusable, asked, check_type, whole

if TYPE_CHECKING:
    from ... import Context

ANSWER_LIMIT_BYTES = 8 * 1024 * 1024
SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.1, 5.0
POLL_SHARE = 0.04  # of the time waited so far: the answer is late by half of this on average
EARLY_SHARE = 0.75  # of the time that requests of its model take: so long it is asked seldom
ASK_SECONDS = 3.0  # for an answer about a request: it is small and free, so asking again, for longer, beats waiting
POLL_FAILURES = 8  # in a row, 20 s to 45 s
LEFT_SECONDS = 5.0  # of the attempt, in which to fetch and store
SUBMIT_GRACE_SECONDS = 5.0  # for the id of a request that was sent already when we are asked to stop
CANCEL_SECONDS = 5.0


_took: dict[str, float] = {}  # seconds from submission to result, by model, as this process has seen them lately


class Request(msgspec.Struct, frozen=True):
    """What there is to know of a request: kept with the job before anybody waits for it."""

    request_id: str
    status_url: str
    response_url: str
    cancel_url: str


class _Status(msgspec.Struct):
    status: str
    queue_position: int | None = None


@dataclass(slots=True)
class FalCall:
    """One request of the queue for one job's purpose."""

    ctx: Context
    account: Account
    call: Call
    purpose: str
    estimate: Used
    started: bool = False  # it has left the provider's queue: cancelled now it is paid all the same
    _ahead: int = field(default=0, init=False)  # the longest queue that was seen before it

    async def result(self, body: dict[str, Any]) -> dict[str, Any]:
        """The output for this input, of the request that an earlier attempt submitted where one did. Raises CallFailed;
        Snooze where the attempt's time ends before the work does.
        """
        request = await self._remembered()
        expected_seconds = None  # of one that an earlier attempt submitted nobody knows since when it is under way
        if request is None:
            request = await self._submitted(body)
            expected_seconds = _took.get(self.account.model, 0.0)
        try:
            await self._wait(request, expected_seconds)
            return await self._fetch(request)
        except asyncio.CancelledError:
            if self.ctx.unwanted:
                await self._cancel(request)
            raise
        except (Rejected, Broken, Useless):
            await self.forget()
            raise

    async def forget(self) -> None:
        """This request is of no use any more: the next attempt submits another."""
        await asyncio.to_thread(self.ctx.remember, self._memory, None)

    @property
    def _memory(self) -> str:
        return f"request {self.purpose}"

    async def _remembered(self) -> Request | None:
        found = await asyncio.to_thread(self.ctx.remembered, self._memory) if self.call.resumed else None
        return None if found is None else msgspec.convert(found, Request)

    async def _submitted(self, body: dict[str, Any]) -> Request:
        """Once it is sent its id is awaited and kept, even where we are asked to stop meanwhile."""
        task = asyncio.ensure_future(self._submit(body))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=SUBMIT_GRACE_SECONDS)
            if self.ctx.unwanted and task.done() and not task.cancelled() and task.exception() is None:
                await self._cancel(task.result())
            raise

    async def _submit(self, body: dict[str, Any]) -> Request:
        url = f"{self.account.base_url}/{self.account.model}"
        content = await self._json("POST", url, msgspec.json.encode(body))
        try:
            request = msgspec.json.decode(content, type=Request)
        except msgspec.MsgspecError as error:
            raise Unsettled(f"its answer to a submission is none: {error}") from None
        for address in (request.status_url, request.response_url, request.cancel_url):
            if _origin(address) != _origin(self.account.base_url):
                raise Rejected(f"it names {address[:80]!r}, which is not at {self.account.base_url}; no key goes there")
        await asyncio.to_thread(self.ctx.remember, self._memory, msgspec.to_builtins(request))
        return request

    async def _wait(self, request: Request, expected_seconds: float | None) -> None:
        began = time.monotonic()
        failures = 0
        while True:
            try:
                said = await self._json("GET", request.status_url, within_seconds=ASK_SECONDS)
                status = msgspec.json.decode(said, type=_Status)
                failures = 0
                waited = time.monotonic() - began
                if self._told(status):
                    if expected_seconds is not None:
                        _note(self.account.model, waited)
                    return
                pause = pause_seconds(waited, expected_seconds or 0.0)
            except Rejected as error:
                raise Useless(f"it does not know request {request.request_id} any more: {error}") from None
            except (CallFailed, msgspec.MsgspecError) as error:
                failures += 1
                if failures > POLL_FAILURES:
                    raise Unsettled(f"request {request.request_id} cannot be asked about: {error}") from None
                pause = _patience(error, failures)
            if self.ctx.seconds_left() < pause + LEFT_SECONDS:
                raise Snooze(1.0, f"provider {self.account.name} still works on request {request.request_id}")
            await asyncio.sleep(pause)

    def _told(self, status: _Status) -> bool:
        """Take note of a status, which may be older than the last one; whether the work has ended."""
        if status.status == "IN_QUEUE" and not self.started:
            position = max(0, status.queue_position or 0)
            self._ahead = max(self._ahead, position)
            self.ctx.progress(self._ahead - position, self._ahead + 2)
        elif status.status in ("IN_PROGRESS", "COMPLETED"):
            self.started = True
            self.ctx.progress(self._ahead + 1, self._ahead + 2)
        return status.status == "COMPLETED"

    async def _fetch(self, request: Request) -> dict[str, Any]:
        for failures in range(1, POLL_FAILURES + 1):
            try:
                said = await self._json("GET", request.response_url, within_seconds=ASK_SECONDS * failures)
                found = msgspec.json.decode(said)
                return found if isinstance(found, dict) else {}
            except (Throttled, Unsettled, msgspec.MsgspecError) as error:  # Broken and Rejected are the work's own end
                if failures == POLL_FAILURES:
                    raise Unsettled(f"the result of {request.request_id} cannot be fetched: {error}") from None
                await asyncio.sleep(_patience(error, failures))
        raise AssertionError("not reached")

    async def _cancel(self, request: Request) -> None:
        """Nobody wants it any more. What had begun, or cannot be cancelled, is paid for nothing."""
        is_free = False
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._json("PUT", request.cancel_url)
                is_free = not self.started
        except (CallFailed, TimeoutError):
            pass
        await given_up(self.ctx, self.account, self.call, None if is_free else self.estimate)

    async def _json(
        self, method: str, url: str, body: bytes | None = None, within_seconds: float | None = None
    ) -> bytes:
        headers = {"Authorization": f"Key {self.account.key}"}
        try:
            async with asked(
                self.ctx, self.account, method, url, body=body, headers=headers, within_seconds=within_seconds
            ) as response:
                check_type(response, "application/json")
                return await whole(response, ANSWER_LIMIT_BYTES)
        except Unusable as error:
            raise Unsettled(str(error)) from None


def pause_seconds(waited: float, expected: float) -> float:
    """Seconds until the next question, after so many of so many: seldom while its end is far, then ever less often."""
    late = min(max(POLL_SHARE * waited, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS)
    return max(late, min(EARLY_SHARE * expected - waited, LONGEST_POLL_SECONDS))


def _note(model: str, seconds: float) -> None:
    """A request has ended: a fifth of what is expected of the next one is this one."""
    _took[model] = seconds if model not in _took else _took[model] + (seconds - _took[model]) / 5


def _patience(error: Exception, failures: int) -> float:
    """Seconds before asking again: as it says, else 0.25, 0.5 ... 5."""
    if isinstance(error, Throttled) and error.after_seconds is not None:
        return min(error.after_seconds, 2 * LONGEST_POLL_SECONDS)
    return float(min(0.25 * 2 ** (failures - 1), LONGEST_POLL_SECONDS))


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
