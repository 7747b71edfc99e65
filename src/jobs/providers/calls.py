"""A paid call from its beginning to its account: budget, pause, breaker, one key for every try, and what it cost.

The only module that speaks to the database about providers.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ... import Cancel, Fail, Retry, Snooze
from .answers import Broken, CallFailed, Rejected, Throttled, Unsettled, Useless
from .breaker import Breaker
from .prices import Used, budgets_for, cost_of

if TYPE_CHECKING:
    from ... import Context
    from .account import Account

RETRY_LIMIT_SECONDS = 3600.0
_BEGIN = """
SELECT workerctl.begin_call(%(job)s::bigint, %(attempt)s::integer, %(purpose)s::text, %(kind)s::text,
                            %(provider)s::text, %(model)s::text, %(user)s::text, %(plan)s::text,
                            %(estimate)s::numeric, %(keyed)s::boolean, %(budgets)s::jsonb)
"""
_END = """
SELECT workerctl.end_call(%(call)s::bigint, %(attempt)s::integer, %(state)s::workerctl.call_state, %(cost)s::numeric,
                          %(images)s::integer, %(input_tokens)s::bigint, %(output_tokens)s::bigint, %(made)s::jsonb)
"""
_PAUSE = "SELECT workerctl.pause_provider(%s::text, %s::double precision, %s::text, %s::text)"

Made = dict[str, Any]

_breakers: dict[str, Breaker] = {}  # of this process, by provider
_paused_until: dict[str, tuple[float, str]] = {}  # what this process knows of pauses: monotonic instant, reason


@dataclass(frozen=True, slots=True)
class Call:
    """One call that may go out. `key` is the same at every try of it, in whatever attempt."""

    id: int
    key: str
    resumed: bool  # an earlier attempt had begun it


@dataclass(frozen=True, slots=True)
class Result:
    """What a call brought: what is kept for later attempts, and what it took."""

    made: Made
    used: Used
    is_remembered: bool = True  # for later attempts; else `work` has kept it where the next one looks first


async def paid(
    ctx: Context, account: Account, purpose: str, estimate: Used, work: Callable[[Call], Awaitable[Result]]
) -> Made:
    """What the call for this purpose makes, or made in an earlier attempt: it is made and paid for once.

    `work` speaks to the provider and keeps what came; it raises CallFailed. Its failures become what they mean for the
    job: Snooze where the provider wants to be left alone, Fail where it refuses, Retry else.
    """
    account.require_key()
    _raise_if_left_alone(account)
    begun = await asyncio.to_thread(_begin, ctx, account, purpose, estimate)
    match begun:
        case {"made": made}:
            return dict(made)
        case {"paused_seconds": seconds, "reason": reason}:
            _paused_until[account.name] = time.monotonic() + seconds, reason
            raise _snooze(account, seconds, reason)
        case {"refused": why}:
            raise Fail(str(why))
        case {"id": call_id, "key": key, "resumed": resumed}:
            call = Call(call_id, key, resumed)
        case _:
            raise Cancel("the claim was lost")
    return await _watched(ctx, account, call, estimate, work)


async def _watched(
    ctx: Context, account: Account, call: Call, estimate: Used, work: Callable[[Call], Awaitable[Result]]
) -> Made:
    """The work itself, its account, and what its failure says about the provider."""
    name = account.name
    _breakers[name] = _breaker(name).called(time.monotonic())
    try:
        result = await work(call)
    except CallFailed as failure:
        await _failed(ctx, account, call, estimate, failure)
        raise AssertionError("not reached") from None
    except BaseException:
        _breakers[name] = _breaker(name).left()
        raise
    _breakers[name] = _breaker(name).answered()
    await asyncio.to_thread(
        _end, ctx, call, account, "paid", result.used, result.made if result.is_remembered else None
    )
    return result.made


async def _failed(ctx: Context, account: Account, call: Call, estimate: Used, failure: CallFailed) -> None:
    """Account for a failed call, and raise what it means for its job."""
    name, words = account.name, str(failure)
    # An earlier try of the same call may have been paid for, and its key can bring that back.
    open_still = call.resumed and _is_keyed(account)
    broken = isinstance(failure, (Broken, Unsettled))
    _breakers[name] = _breaker(name).failed(time.monotonic()) if broken else _breaker(name).answered()
    match failure:
        case Throttled(after_seconds=asked, made=made):
            if not made and not open_still:
                await asyncio.to_thread(_end, ctx, call, account, None, Used())
            seconds = await asyncio.to_thread(_pause, ctx, account, asked, words)
            _paused_until[name] = time.monotonic() + seconds, words
            raise _snooze(account, seconds, words) from None
        case Rejected():
            ended, used = ("unknown", estimate) if open_still else (None, Used())
            await asyncio.to_thread(_end, ctx, call, account, ended, used)
            raise Fail(f"provider {name} refuses: {words}") from None
        case Broken() if not open_still:
            await asyncio.to_thread(_end, ctx, call, account, None, Used())
        case Useless():
            await asyncio.to_thread(_end, ctx, call, account, "wasted", estimate)
        case _:
            pass  # its outcome is not known: the next attempt goes on with it
    raise _retry(ctx, account, words) from None


async def given_up(ctx: Context, account: Account, call: Call, paid_for: Used | None) -> None:
    """A call that nobody waits for any more; None: free of charge."""
    await asyncio.to_thread(_end, ctx, call, account, "wasted" if paid_for else None, paid_for or Used())


async def unusable(ctx: Context, call: Call, words: str) -> CallFailed:
    """What an answer that nobody can use means: ask for the same once more, then, or with the last attempt, give it up.

    It may have been spoilt on its way. Given up it was paid for nothing, and the next call is a new one.
    """
    spoilt = f"spoilt {call.id}"
    last = ctx.job.failures + 1 >= ctx.job.max_attempts
    if last or await asyncio.to_thread(ctx.remembered, spoilt):
        return Useless(words)
    await asyncio.to_thread(ctx.remember, spoilt, True)
    return Unsettled(words)


def _raise_if_left_alone(account: Account) -> None:
    """What this process knows already: spares the database a question."""
    now = time.monotonic()
    until, reason = _paused_until.get(account.name, (0.0, ""))
    if until > now:
        raise _snooze(account, until - now, reason)
    wait_seconds = _breaker(account.name).wait_seconds(now)
    if wait_seconds > 0:
        raise _snooze(account, wait_seconds, "it failed many times in a row")


def _breaker(name: str) -> Breaker:
    return _breakers.get(name, Breaker())


def _snooze(account: Account, seconds: float, reason: str) -> Snooze:
    """Not all at once when the pause is over: spread over half as long again."""
    spread = max(1.0, seconds / 2)
    return Snooze(seconds + spread * random.random(), f"provider {account.name} is left alone: {reason}")


def _retry(ctx: Context, account: Account, words: str) -> Retry:
    """After the usual delay, between half of it and half as long again."""
    delay = min(ctx.settings.jobs.retry_delay_seconds * 2**ctx.job.failures, RETRY_LIMIT_SECONDS)
    return Retry(f"provider {account.name}: {words}", after_seconds=delay * (0.5 + random.random()))


def _begin(ctx: Context, account: Account, purpose: str, estimate: Used) -> Any:
    job = ctx.job
    budgets = budgets_for(ctx.settings, account, job.user_id, job.plan)
    values = {
        "job": job.id, "attempt": job.attempt, "purpose": purpose, "kind": job.kind, "provider": account.name,
        "model": account.model, "user": job.user_id, "plan": job.plan, "keyed": _is_keyed(account),
        "estimate": cost_of(estimate, account.settings), "budgets": msgspec.json.encode(budgets).decode(),
    }  # fmt: skip
    with ctx.database() as connection:
        row = connection.execute(_BEGIN, values).fetchone()
    return row[0] if row is not None else None


def _end(ctx: Context, call: Call, account: Account, state: str | None, used: Used, made: Made | None = None) -> None:
    values = {
        "call": call.id, "attempt": ctx.job.attempt, "state": state, "cost": cost_of(used, account.settings),
        "images": used.images, "input_tokens": used.input_tokens, "output_tokens": used.output_tokens,
        "made": None if made is None else msgspec.json.encode(made).decode(),
    }  # fmt: skip
    with ctx.database() as connection:
        connection.execute(_END, values)


def _pause(ctx: Context, account: Account, asked_seconds: float | None, words: str) -> float:
    """A pause for the whole fleet, of which no job of this kind is handed out; the seconds it lasts."""
    with ctx.database() as connection:
        row = connection.execute(_PAUSE, [account.name, asked_seconds, words, ctx.job.kind]).fetchone()
    return float(row[0]) if row is not None else 0.0


def _is_keyed(account: Account) -> bool:
    """Whether the provider takes an idempotency key: it can be asked for the same call again."""
    return account.settings.type == "openai"
