"""Pure: what an attempt's outcome means for its job. Decides, writes nothing."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from typing import Any

import msgspec

from ..broker.exchange import Again, Claimed, Ended, Parent
from ..handler import (
    Cancel,
    Context,
    Fail,
    InvalidPayload,
    Retry,
    Snooze,
    holds_no_number,
    holds_nul,
    miscounted,
    storable,
    to_json,
    write_model,
)

RESULT_LIMIT_BYTES = 1024 * 1024
ERROR_LIMIT_CHARACTERS = 4000
RETRY_LIMIT_SECONDS = 3600.0


class TimedOut(Exception):
    """The attempt was still running at its deadline."""


class HandedBack(Exception):
    """The worker leaves before the attempt could end; the job goes back as if it had not begun."""


class Returned(msgspec.Struct, frozen=True):
    """The handler returned this."""

    value: Any


class Raised(msgspec.Struct, frozen=True):
    """The handler raised this, or was stopped for this reason."""

    error: BaseException


Outcome = Returned | Raised
Settlement = Ended | Again | Parent


def settle(job: Claimed, outcome: Outcome, context: Context, retry_delay_seconds: float, jitter: float) -> Settlement:
    """What is written about one attempt. `jitter` in [0, 1) is chosen by the caller."""
    if isinstance(outcome, Returned) and outcome.value is None and not context.enqueued:
        return Ended(job.id, job.attempt)  # most say no more, and the ways below cost as much as all else here
    try:
        return _settle(job, outcome, context, retry_delay_seconds, jitter)
    except Exception as error:  # what a handler raises may raise in turn when it is asked for its words
        broken = type(outcome.error if isinstance(outcome, Raised) else outcome.value).__name__
        words = f"{broken}, which cannot be read: {type(error).__name__}"
        return _failed(job, RuntimeError(words), retry_delay_seconds, jitter)


def _settle(job: Claimed, outcome: Outcome, context: Context, retry_delay_seconds: float, jitter: float) -> Settlement:
    if isinstance(outcome, Returned):
        return _returned(job, outcome.value, context)
    match outcome.error:
        case Snooze() as snooze:
            delay = max(0.0, snooze.after_seconds)
            return Again(job.id, job.attempt, delay_seconds=delay, error=_words(snooze) or None)
        case HandedBack():
            return Again(job.id, job.attempt, keeps_place=True)
        case Cancel() as cancel:
            return Ended(job.id, job.attempt, "cancelled", error=_words(cancel) or "cancelled by its handler")
        case Fail() | InvalidPayload() as final:
            return Ended(job.id, job.attempt, "dead", error=describe(final))
        case error:
            return _failed(job, error, retry_delay_seconds, jitter)


def per_job(outcome: Outcome, jobs: int, unfit: Mapping[int, InvalidPayload]) -> list[Outcome]:
    """A batch call's outcome as one for each of its jobs, in order.

    `unfit` are the jobs, by position, whose payloads the handler never saw. What was raised is the others' all; a list
    has one item for each of them, a value or an exception; anything else is the result of each.
    """
    seen = jobs - len(unfit)
    if isinstance(outcome, Raised) or not isinstance(outcome.value, list | tuple):
        each = iter([outcome] * seen)
    elif len(outcome.value) != seen:
        each = iter([Raised(miscounted(len(outcome.value), seen))] * seen)
    else:
        each = iter([Raised(item) if isinstance(item, BaseException) else Returned(item) for item in outcome.value])
    return [Raised(unfit[position]) if position in unfit else next(each) for position in range(jobs)]


def follow_ups(settlement: Settlement, context: Context) -> list[dict[str, Any]]:
    """What the handler enqueued beside its children: only what succeeded has consequences.

    A continuation of children that were never made follows at once.
    """
    if settlement.counts_as != "succeeded":
        return []
    if isinstance(settlement, Parent):
        return [spec for spec in context.enqueued if not spec["child"]]
    return context.enqueued + ([context.done_next] if context.done_next else [])


def backoff_seconds(failures: int, first_seconds: float, jitter: float) -> float:
    """Seconds before the next attempt: 15, 30, 60 ... up to one hour, stretched by up to 10 %."""
    return float(min(first_seconds * 2 ** min(failures - 1, 30), RETRY_LIMIT_SECONDS) * (1 + 0.1 * jitter))


def describe(error: BaseException) -> str:
    """One line for people: the class where it is not one of ours, the words, and where it was raised."""
    words = _words(error)
    if isinstance(error, (Fail, Retry, InvalidPayload, TimedOut)):
        return (words or type(error).__name__)[:ERROR_LIMIT_CHARACTERS]
    words = type(error).__name__ + (f": {words}" if words else "")
    while isinstance(error, BaseExceptionGroup):  # of a TaskGroup, which says how many failed and not why
        error = error.exceptions[0]
        words += f": {type(error).__name__}: {_words(error)}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""
    place = storable(place)
    return words[: ERROR_LIMIT_CHARACTERS - len(place)] + place


def _words(error: BaseException) -> str:
    return storable(str(error)).strip()[:ERROR_LIMIT_CHARACTERS]


def _returned(job: Claimed, value: Any, context: Context) -> Settlement:
    result: msgspec.Raw | None = None
    if value is not None:
        try:
            result = _encoded(value)
        except ValueError as error:
            return Ended(job.id, job.attempt, "dead", error=f"the result {error}")
    if context.enqueued and (children := [spec for spec in context.enqueued if spec["child"]]):
        return Parent(job.id, job.attempt, children, result, context.done_next)
    return Ended(job.id, job.attempt, "succeeded", result)


def _encoded(value: Any) -> msgspec.Raw:
    """A result as JSON. Raises ValueError with what is wrong with it."""
    try:
        content = msgspec.json.encode(value, enc_hook=write_model)
    except (TypeError, ValueError, OverflowError) as error:
        if inspect.iscoroutine(value):
            value.close()
            raise ValueError("is a coroutine: a handler that awaits, and what decorates it, is `async def`") from None
        raise ValueError(f"is not JSON: {error}") from None
    if len(content) > RESULT_LIMIT_BYTES:
        raise ValueError(f"of {len(content)} bytes is over 1 MiB; put it into storage")
    if holds_nul(content):
        raise ValueError("holds the character NUL, which PostgreSQL cannot store")
    if b"null" in content and holds_no_number(to_json(value)):
        raise ValueError("holds NaN or an infinity, which JSON does not have")
    return msgspec.Raw(content)


def _failed(job: Claimed, error: BaseException, retry_delay_seconds: float, jitter: float) -> Settlement:
    failures = job.failures + 1
    if failures >= job.max_attempts:
        return Ended(job.id, job.attempt, "dead", error=describe(error))
    delay = backoff_seconds(failures, retry_delay_seconds, jitter)
    if isinstance(error, Retry) and error.after_seconds is not None:
        delay = max(0.0, error.after_seconds)
    return Again(job.id, job.attempt, failed=True, delay_seconds=delay, error=describe(error))
