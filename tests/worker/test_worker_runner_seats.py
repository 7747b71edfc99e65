"""Seats of a runner, and runs that wait for one."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from worker_runs import finish, new_run

from workerctl.handler import Cancel
from workerctl.worker.runner import Runner


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
