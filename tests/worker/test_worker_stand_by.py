"""A task that is made before its run is there: it takes the run, and is in nobody's way where none comes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from worker_runs import finish, new_run

from workerctl.worker.outcome import Returned
from workerctl.worker.runner import Runner

DEADLINE_SECONDS = 5.0


async def own_name(payload: str) -> str:
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


def _tasks(runner: Runner) -> list[str]:
    """The names of the tasks that the loop has, asked in its own thread, once it has nothing else to do."""
    return asyncio.run_coroutine_threadsafe(_names(), runner.loop).result(DEADLINE_SECONDS)


async def _names() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands by gives up after the test's own deadlines only."""
    monkeypatch.setattr("workerctl.worker.runner.BURST_SECONDS", 10 * DEADLINE_SECONDS)


def test_a_run_is_taken_by_the_task_that_stands_by(patient: None, runner: Runner, handler: Any) -> None:
    made: list[str] = []
    about_to_stand = threading.Event()

    def note(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        loop.call_soon(about_to_stand.set)
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        made.append(task.get_name())
        return task

    runner.loop.set_task_factory(note)
    runner.stand_by()
    assert about_to_stand.wait(DEADLINE_SECONDS)
    runner.start([new_run(handler(own_name), "")])
    assert [run.outcome for run in finish(runner)] == [Returned(made[0])]


def test_where_nothing_was_claimed_the_loop_goes_on_and_the_next_run_begins(
    patient: None, runner: Runner, handler: Any
) -> None:
    for _ in range(3):
        runner.stand_by()
        runner.start([])
        assert _tasks(runner) == []
    runner.start([new_run(handler(own_name), "")])
    assert len(finish(runner)) == 1


def test_what_stands_by_for_nothing_gives_up_and_what_comes_later_begins(runner: Runner, handler: Any) -> None:
    for _ in range(3):
        runner.stand_by()  # and the queue does not answer
        assert _tasks(runner) == []
        runner.start([new_run(handler(own_name), "")])
        assert len(finish(runner)) == 1


def test_nothing_stands_by_beside_a_run(patient: None, runner: Runner, handler: Any) -> None:
    async def until_told(payload: str) -> None:
        await told.wait()

    told = asyncio.Event()
    runner.start([new_run(handler(until_told), "")])
    runner.stand_by()
    assert len(_tasks(runner)) == 1
    runner.loop.call_soon_threadsafe(told.set)
    assert len(finish(runner)) == 1
