"""Handlers in their threads: outcomes, timeouts, cancellation."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import math
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from workerctl.broker.exchange import Claimed
from workerctl.handler import Cancel, Context, Handler, InvalidPayload, Job, Retry, Services, handlers, job
from workerctl.worker.outcome import HandedBack, Raised, Returned, TimedOut
from workerctl.worker.run import Run
from workerctl.worker.runner import Runner


@dataclass
class Point:
    x: int


@pytest.fixture
def handler() -> Iterator[Callable[[Callable[..., Any]], Handler]]:
    known = dict(handlers())

    def register(function: Callable[..., Any], **options: Any) -> Handler:
        job(f"test.{function.__name__}", **options)(function)
        return handlers()[f"test.{function.__name__}"]

    yield register
    for kind in set(handlers()) - set(known):
        cast(dict[str, Handler], handlers()).pop(kind)


@pytest.fixture
def runner() -> Iterator[Runner]:
    made = Runner(100)
    yield made
    made.close()


def new_run(handler: Handler, *payloads: Any, timeout: float = 5) -> Run:
    created = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    jobs = [
        Claimed(
            number,
            handler.kind,
            "q",
            1,
            0,
            0,
            3,
            0,
            None,
            None,
            None,
            created,
            msgspec.Raw(msgspec.json.encode(payload)),
        )
        for number, payload in enumerate(payloads, 1)
    ]
    return Run(handler, jobs, Context(Job(1, handler.kind), cast(Services, SimpleNamespace())), timeout)


def finish(runner: Runner, count: int = 1) -> list[Run]:
    deadline = time.monotonic() + 10
    finished: list[Run] = []
    while len(finished) < count:
        assert time.monotonic() < deadline, "nothing finished"
        if select.select([runner], [], [], 0.1)[0]:
            runner.heard()
        finished += runner.take_finished()
    return finished


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


def _celerys(key: str, size: int = 256) -> None: ...
def _two_needed(payload: dict[str, Any], ctx: Context, bucket: Any) -> None: ...
def _keyword_needed(payload: dict[str, Any], *, bucket: Any) -> None: ...
def _method(self: Any, payload: dict[str, Any]) -> None: ...
def _nothing() -> None: ...
def _generator(payload: dict[str, Any]) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_celerys, "fields of the payload"),
        (_two_needed, "fields of the payload"),
        (_keyword_needed, "fields of the payload"),
        (_method, "a method"),
        (_nothing, "no payload"),
        (_generator, "yields"),
    ],
)
def test_a_function_that_cannot_handle_a_job_is_refused_where_it_is_written(
    handler: Any, function: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=rf"takes \(payload\) or \(payload, ctx\).*{words}"):
        handler(function)


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


def test_job_without_its_kind_says_how_it_is_written() -> None:
    with pytest.raises(TypeError, match=r'@job\("image.make"\)'):
        job(_nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch_wait_seconds": 1}, {"batch": 5, "batch_wait_seconds": -1}])
def test_a_batch_that_cannot_be_is_refused_where_it_is_written(handler: Any, options: dict[str, Any]) -> None:
    def many(payloads: list[Point]) -> None: ...

    with pytest.raises(ValueError, match="batch"):
        handler(many, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": 99999},
        {"timeout_seconds": 0},
        {"timeout_seconds": math.nan},
        {"queue": ""},
    ],
)
def test_a_job_that_no_queue_takes_is_refused_where_it_is_written(handler: Any, options: dict[str, Any]) -> None:
    def one(payload: Point) -> None: ...

    with pytest.raises(ValueError, match=next(iter(options))):
        handler(one, **options)


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


def test_no_more_runs_at_once_than_there_are_seats_and_every_run_ends(handler: Any) -> None:
    seats, runs = 3, 600
    together: list[int] = []
    inside: set[int] = set()

    async def in_loop(payload: int) -> None:
        inside.add(payload)
        together.append(len(inside))
        await asyncio.sleep(0)
        inside.discard(payload)

    def in_thread(payload: int) -> None:
        inside.add(payload)
        together.append(len(inside))
        inside.discard(payload)

    kinds = handler(in_loop), handler(in_thread)
    runner = Runner(seats)
    for batch in range(0, runs, 50):  # while others end: whoever comes first fills the seat
        runner.start([new_run(kinds[number % 2], number) for number in range(batch, batch + 50)])
    assert len(finish(runner, runs)) == runs
    assert max(together) <= seats
    assert runner.busy == 0
    runner.close()


def test_a_run_that_waits_for_a_seat_can_be_taken_back_and_never_begins(handler: Any) -> None:
    gate = threading.Event()
    began: list[int] = []

    def gated(payload: int) -> None:
        began.append(payload)
        gate.wait(10)

    kind = handler(gated)
    runner = Runner(1)
    first, second, third = (new_run(kind, number) for number in (1, 2, 3))
    runner.start([first, second, third])
    runner.stop(second, Cancel("cancelled by request"))
    assert runner.has_waiting
    assert runner.take_waiting() == [second, third]
    gate.set()
    assert finish(runner) == [first]
    assert began == [1]
    assert not third.seated
    runner.close()


def test_a_run_that_is_stopped_while_it_waits_for_a_seat_ends_without_having_begun(handler: Any) -> None:
    gate = threading.Event()

    def gated(payload: int) -> None:
        assert payload == 1, "the second is never called"
        gate.wait(10)

    kind = handler(gated)
    runner = Runner(1)
    runs = [new_run(kind, number) for number in (1, 2)]
    runner.start(runs)
    runner.stop(runs[1], Cancel("cancelled by request"))
    gate.set()
    assert [str(run.outcome) for run in finish(runner, 2)] == [
        "Returned(value=None)",
        "Raised(error=Cancel('cancelled by request'))",
    ]
    runner.close()


def test_a_run_has_its_whole_time_from_when_it_sits_down(handler: Any) -> None:
    def done(payload: int) -> None:
        pass

    runner = Runner(1)
    run = new_run(handler(done), 1)
    run.started -= 100
    runner.start([run])
    finish(runner)
    assert run.deadline > time.monotonic()
    assert run.context.deadline == run.deadline
    runner.close()
