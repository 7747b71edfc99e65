"""Handlers in their threads: outcomes, timeouts, cancellation."""

from __future__ import annotations

import asyncio
import functools
import select
import threading
import time
from contextvars import ContextVar
from typing import Any

import pytest
from worker_runs import Point, finish, new_run

from workerctl.handler import Cancel, Context, Handler, InvalidPayload, Job, Retry
from workerctl.worker.outcome import HandedBack, Raised, Returned, TimedOut
from workerctl.worker.runner import Runner


def test_async_and_plain_handlers_get_their_typed_payload(runner: Runner, handler: Any) -> None:
    async def in_loop(payload: Point, ctx: Context) -> int:
        await asyncio.sleep(0)
        return payload.x + ctx.job.id

    def in_thread(payload: Point) -> str:
        return f"{payload.x} in {threading.current_thread().name}"

    runner.start([new_run(handler(in_loop), {"x": "41"}), new_run(handler(in_thread), {"x": 1})])
    assert sorted(str(run.outcome) for run in finish(runner, 2)) == [
        "Returned(value='1 in job 1')",
        "Returned(value=42)",
    ]


def test_what_a_task_sets_in_its_context_is_not_there_for_the_one_that_takes_its_seat(handler: Any) -> None:
    request: ContextVar[str] = ContextVar("request", default="none")

    async def tell(payload: str) -> str:
        found = request.get()
        request.set(payload)
        return found

    one_seat = Runner(1)
    one_seat.start([new_run(handler(tell), "first"), new_run(handler(tell), "second")])
    assert [run.outcome for run in finish(one_seat, 2)] == [Returned("none"), Returned("none")]
    one_seat.close()


def test_a_payload_that_does_not_fit_says_where(runner: Runner, handler: Any) -> None:
    def typed(payload: Point) -> None:
        raise AssertionError("never called")

    runner.start([new_run(handler(typed), {"x": "many"})])
    outcome = finish(runner)[0].outcome
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, InvalidPayload)
    assert "$.x" in str(outcome.error)


def test_a_task_that_is_stopped_at_its_deadline_has_timed_out(runner: Runner, handler: Any) -> None:
    async def endless(payload: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    run = new_run(handler(endless), {})
    runner.start([run])
    runner.stop(run, TimedOut("timed out after 5 s"))
    outcome = finish(runner)[0].outcome
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, TimedOut)


def test_a_timeout_of_the_handlers_own_is_its_failure(runner: Runner, handler: Any) -> None:
    async def impatient(payload: dict[str, Any]) -> None:
        raise TimeoutError("the provider's")

    runner.start([new_run(handler(impatient), {})])
    outcome = finish(runner)[0].outcome
    assert isinstance(outcome, Raised)
    assert str(outcome.error) == "the provider's"


def test_a_stopped_task_ends_with_the_reason_and_may_clean_up(runner: Runner, handler: Any) -> None:
    begun, cleaned = threading.Event(), threading.Event()

    async def tidy(payload: dict[str, Any]) -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    run = new_run(handler(tidy), {})
    runner.start([run])
    assert begun.wait(5)
    runner.stop(run, Cancel("cancelled by request"))
    runner.stop(run, Cancel("another reason comes too late"))
    outcome = finish(runner)[0].outcome
    assert isinstance(outcome, Raised)
    assert str(outcome.error) == "cancelled by request"
    assert cleaned.is_set()


def test_a_task_that_is_stopped_before_its_first_step_ends_too(runner: Runner, handler: Any) -> None:
    async def never(payload: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    register = handler(never)
    for _ in range(50):  # the loop's thread may or may not have begun the task
        run = new_run(register, {})
        runner.start([run])
        runner.stop(run, Cancel("cancelled by request"))
        outcome = finish(runner)[0].outcome
        assert isinstance(outcome, Raised)
        assert str(outcome.error) == "cancelled by request"


def test_a_thread_sees_that_it_is_not_wanted(runner: Runner, handler: Any) -> None:
    begun = threading.Event()

    def polite(payload: dict[str, Any], ctx: Context) -> None:
        begun.set()
        while True:
            ctx.raise_if_cancelled()
            time.sleep(0.005)

    run = new_run(handler(polite), {})
    runner.start([run])
    assert begun.wait(5)
    runner.stop(run, Cancel("x"))
    outcome = finish(runner)[0].outcome
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, Cancel)


def test_a_handler_may_raise_anything(runner: Runner, handler: Any, capfd: pytest.CaptureFixture[str]) -> None:
    def leaves(payload: dict[str, Any]) -> None:
        raise SystemExit(3)

    async def interrupts(payload: dict[str, Any]) -> None:
        raise ValueError("文字")

    runner.start([new_run(handler(leaves), {}), new_run(handler(interrupts), {})])
    assert all(isinstance(run.outcome, Raised) for run in finish(runner, 2))
    assert "ValueError: 文字" in capfd.readouterr().err


def test_a_batch_kind_is_called_once_with_all_payloads(runner: Runner, handler: Any) -> None:
    def many(payloads: list[Point], ctx: Context) -> int:
        return sum(point.x for point in payloads)

    runner.start([new_run(handler(many, batch=10), {"x": 1}, {"x": 2}, {"x": 3})])
    assert finish(runner)[0].outcome == Returned(6)


def test_of_a_batch_only_the_payloads_that_fit_are_seen(runner: Runner, handler: Any) -> None:
    def each(payloads: list[Point], ctx: Context) -> list[Any]:
        return [
            Retry("two") if point.x == 2 else (point.x, known.id)
            for point, known in zip(payloads, ctx.jobs, strict=True)
        ]

    run = new_run(handler(each, batch=10), {"x": 1}, {"x": "no"}, {"x": 2}, {"x": 4})
    run.context.jobs = tuple(Job(claimed.id, claimed.kind) for claimed in run.jobs)
    runner.start([run])
    outcome = finish(runner)[0].outcome
    assert outcome is not None
    first, unfit, retry, last = (its_outcome for _, its_outcome in run.outcomes(outcome))
    assert (first, last) == (Returned((1, 1)), Returned((4, 4)))
    assert isinstance(unfit, Raised)
    assert isinstance(unfit.error, InvalidPayload)
    assert isinstance(retry, Raised)
    assert isinstance(retry.error, Retry)


def test_a_batch_of_which_no_payload_fits_does_not_call_its_handler(runner: Runner, handler: Any) -> None:
    def never(payloads: list[Point]) -> None:
        raise AssertionError("never called")

    run = new_run(handler(never, batch=10), {"x": "no"}, {})
    runner.start([run])
    outcome = finish(runner)[0].outcome
    assert outcome is not None
    assert [type(each.error) for _, each in run.outcomes(outcome) if isinstance(each, Raised)] == [InvalidPayload] * 2


def test_a_thread_that_hears_that_it_is_not_wanted_ends_for_the_reason_why(runner: Runner, handler: Any) -> None:
    begun = threading.Event()

    def polite(payload: dict[str, Any], ctx: Context) -> None:
        begun.set()
        while True:
            ctx.raise_if_cancelled()
            time.sleep(0.005)

    run = new_run(handler(polite), {})
    runner.start([run])
    assert begun.wait(5)
    runner.stop(run, HandedBack())
    outcome = finish(runner)[0].outcome
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, HandedBack)


def test_a_handler_with_more_parameters_than_it_needs_gets_what_there_is(runner: Runner, handler: Any) -> None:
    def plain(payload: Point, ctx: Any = None, more: int = 3) -> Any:
        return [payload.x, ctx is None, more]

    def named(payload: Point, *, more: int = 3) -> Any:
        return [payload.x, more]

    def wrapped(*arguments: Any, **named: Any) -> Any:
        return plain(*arguments, **named)

    kinds = [plain, named, functools.wraps(plain)(wrapped)]
    expected = ([1, False, 3], [1, 3], [1, False, 3])
    for function, result in zip(kinds, expected, strict=True):
        runner.start([new_run(Handler("k", function, "q", None, None, 1), {"x": 1})])
        assert finish(runner)[0].outcome == Returned(result)


def test_no_end_is_missed_however_close_it_comes_to_the_last(runner: Runner, handler: Any) -> None:
    async def quick(payload: dict[str, Any]) -> None: ...

    register = handler(quick)
    for _ in range(3000):
        runner.start([new_run(register, {}) for _ in range(4)])
        finished = 0
        while finished < 4:
            ready, _, _ = select.select([runner], [], [], 5)
            assert ready, "a run ended and nobody was told"
            runner.heard()
            finished += len(runner.take_finished())
