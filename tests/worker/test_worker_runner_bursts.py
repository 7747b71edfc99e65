"""Handlers that never wait run in one task, one after the other; nobody else may notice."""

from __future__ import annotations

import asyncio
import gc
import time
from contextvars import ContextVar
from typing import Any

from worker_runs import finish, new_run

from workerctl.worker.outcome import Raised, Returned
from workerctl.worker.runner import BURST_SECONDS, Runner


def test_a_task_is_shared_by_handlers_that_never_wait_and_by_no_other(handler: Any) -> None:
    tasks: list[Any] = []

    async def visit(payload: str) -> None:
        tasks.append(asyncio.current_task())
        if payload == "wait":
            await asyncio.sleep(0)

    runner = Runner(1)
    runner.start([new_run(handler(visit), word) for word in ("go", "go", "wait", "go", "go")])
    assert [run.outcome for run in finish(runner, 5)] == [Returned(None)] * 5
    assert tasks[0] is tasks[1] is tasks[2]
    assert tasks[2] is not tasks[3], "one that waited keeps its task"
    runner.close()


def test_a_handler_that_asks_for_the_end_of_its_task_takes_no_other_with_it(handler: Any) -> None:
    async def quit_or_wait(payload: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        if payload == "quit":
            task.cancel()
        else:
            await asyncio.sleep(0)
        return payload

    runner = Runner(2)
    runner.start([new_run(handler(quit_or_wait), word) for word in ("quit", "wait", "quit", "quit", "wait")])
    assert [run.outcome for run in finish(runner, 5) if not isinstance(run.outcome, Returned)] == []
    runner.close()


def test_a_value_that_cannot_be_compared_ends_the_burst_only(handler: Any) -> None:
    class Unequal:
        def __eq__(self, other: object) -> bool:
            raise ValueError("neither equal nor not")

        __hash__ = None  # type: ignore[assignment]

    value: ContextVar[Unequal] = ContextVar("value")
    value.set(Unequal())  # a runner's tasks begin with what its maker had set

    async def change(payload: int) -> None:
        value.set(Unequal())

    runner = Runner(1)
    unheard: list[Any] = []
    runner.loop.set_exception_handler(lambda _loop, about: unheard.append(about))
    runner.start([new_run(handler(change), number) for number in range(3)])
    assert [run.outcome for run in finish(runner, 3)] == [Returned(None)] * 3
    runner.close()
    gc.collect()
    assert unheard == []


def test_who_waits_is_called_while_others_that_never_wait_are_in_hand(handler: Any) -> None:
    woken: list[float] = []
    order: list[int] = []

    async def nap(payload: int) -> None:
        await asyncio.sleep(BURST_SECONDS)
        woken.append(len(order))

    async def work(payload: int) -> None:
        until = time.monotonic() + BURST_SECONDS / 5
        while time.monotonic() < until:
            pass
        order.append(payload)

    runner = Runner(2)
    runner.start([new_run(handler(nap), 0), *(new_run(handler(work), number) for number in range(100))])
    finish(runner, 101)
    assert woken[0] < 50, f"the loop had no turn before {woken[0]} of 100 handlers were done"
    assert order == list(range(100))
    runner.close()


def test_what_a_burst_raises_is_each_ones_own(handler: Any) -> None:
    async def fail_or_not(payload: int) -> int:
        if payload % 2:
            raise ValueError(payload)
        return payload

    runner = Runner(4)
    runner.start([new_run(handler(fail_or_not), number) for number in range(6)])
    outcomes = [run.outcome for run in finish(runner, 6)]
    assert [outcome.error.args for outcome in outcomes if isinstance(outcome, Raised)] == [(1,), (3,), (5,)]
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Returned)] == [0, 2, 4]
    runner.close()
