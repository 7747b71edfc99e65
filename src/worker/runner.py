"""The handlers' threads: a loop for `async def`, a daemon thread for each `def`; outcomes come back in a deque."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from typing import Any

from ..handler import Cancel, Fail, InvalidPayload, Retry, Snooze, decode
from .journal import running_job, write_to_stderr
from .outcome import Outcome, Raised, Returned
from .run import Run

_EXPECTED = (Cancel, Fail, InvalidPayload, Retry, Snooze)
BURST_SECONDS = 0.005  # so long one task stands by, or runs handlers that never wait; then the loop has its turn


class Runner:
    """Starts runs, no more at once than it has seats, and collects their outcomes; the main thread alone calls it.

    A run that finds no free seat waits for one; whoever leaves a seat starts the next, without the main thread.
    `fileno()` becomes readable when something finished or a context has news. An executor is not used: it would
    hold up the process's exit behind a handler that is stuck.
    """

    def __init__(self, seats: int) -> None:
        self._seats = seats
        self._free: deque[None] = deque([None] * seats)  # the seats that nobody has: a deque's pop needs no lock
        self._waiting: deque[Run] = deque()
        self._seated: deque[Run] = deque()  # `async def` runs that have a seat and whose handler is not called yet
        self._burst: contextvars.Context | None = None  # of the task that is calling them; see `_run_burst`
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._finished: deque[Run] = deque()
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._rung = False
        self._context = contextvars.copy_context()  # that tasks begin with
        self._gate = threading.Lock()  # where a task stands by; what it waits for opens it

    def fileno(self) -> int:
        return self._ours.fileno()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The handlers' event loop, in its own thread, started on first use."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="handlers", daemon=True)
            self._thread.start()
        return self._loop

    @property
    def busy(self) -> int:
        """How many runs have a seat."""
        return self._seats - len(self._free)

    @property
    def has_waiting(self) -> bool:
        """Whether some run has no seat yet."""
        return bool(self._waiting)

    def start(self, runs: Sequence[Run]) -> None:
        """Begin these runs, each in its own way, in this order as seats become free."""
        self._waiting.extend(runs)
        any_tasks = self._fill_seats()
        if self._gate.locked():
            self._gate.release()
        if any_tasks:
            self._let_begin()

    def stand_by(self) -> None:
        """Perhaps a task will begin in a moment: where nothing runs it is made now, and waits for the next `start`.

        At 20 jobs a second a processor has forgotten that code: it takes 0.2 ms, as long as the queue's answer is away.
        """
        if not self.busy:
            self._gate.acquire(blocking=False)
            self.loop.call_soon_threadsafe(self._start_task, True)

    def take_waiting(self) -> list[Run]:
        """Every run that has no seat yet: it will not begin here."""
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._waiting.popleft())
        return taken

    def stop(self, run: Run, reason: BaseException) -> None:
        """Ask a run to end: a task is cancelled, a thread sees `ctx.cancel_requested`. The first reason stays."""
        if run.stop_reason is None:
            run.stop_reason = run.context.stop_reason = reason
        run.context.cancel_requested = True
        if run.handler.is_async:
            self.loop.call_soon_threadsafe(self._cancel, run)

    def heard(self) -> None:
        """Listen for the next ring; where `fileno()` is readable, before `take_finished`."""
        with contextlib.suppress(BlockingIOError):
            self._ours.recv(4096)
        self._rung = False  # only now: a ring whose byte was just read would silence every later one

    def take_finished(self) -> list[Run]:
        """Every run that ended since the last call."""
        finished = []
        while self._finished:
            finished.append(self._finished.popleft())
        return finished

    def ring(self) -> None:
        """Wake the main thread; from any thread."""
        if not self._rung:
            self._rung = True
            try:
                self._theirs.send(b"!")
            except OSError:
                return  # a full socket is a ringing one

    def close(self) -> None:
        """Stop the loop's thread and let go of the descriptors; nothing may run any more."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            if self._thread is not None:
                self._thread.join()
            self._loop.close()
        self._ours.close()
        self._theirs.close()

    def _fill_seats(self) -> bool:
        """Called by whoever adds a run that waits or a free seat, so that somebody sees both; by any thread.

        Whether the loop has something to begin now.
        """
        any_tasks = False
        while self._waiting:
            try:
                self._free.pop()
            except IndexError:
                break
            try:
                run = self._waiting.popleft()
            except IndexError:
                self._free.append(None)
                continue
            run.sit_down()
            if run.stop_reason is not None:
                self._end(run, Raised(run.stop_reason))
            elif run.handler.is_async:
                self._seated.append(run)
                any_tasks = True
            else:
                self._start_thread(run)
        return any_tasks

    def _let_begin(self) -> None:
        if threading.current_thread() is not self._thread:
            self.loop.call_soon_threadsafe(self._start_tasks)
        elif self._burst is None:
            self._start_tasks()

    def _start_thread(self, run: Run) -> None:
        name = f"job {run.first.id}"
        try:
            threading.Thread(target=self._run_in_thread, args=(run,), name=name, daemon=True).start()
        except RuntimeError as error:  # the machine has no more threads
            self._end(run, Raised(error))

    def _start_tasks(self, most: int = 1) -> None:
        """Called where nobody is in the middle of a burst: by the loop, or by a task that waited."""
        self._burst = None
        for _ in range(min(most, len(self._seated))):
            self._start_task()

    def _start_task(self, stands_by: bool = False) -> None:
        context = self._context.copy()  # what was set in the context of another is that one's own
        self.loop.create_task(self._run_burst(context, stands_by), context=context)

    def _go_on(self, context: contextvars.Context) -> None:
        """After the burst in this context. If its last handler waits, so perhaps will others: each has a task now."""
        self._start_tasks(self._seats if self._burst is context else 1)

    async def _run_burst(self, context: contextvars.Context, stands_by: bool) -> None:
        """A burst: run what is seated, one after the other, up to the first that waits; the others then have tasks of
        their own. A task costs more than all else that is done for a handler that never waits.

        A task is left to its handler, too, where that changed its context or asked for its end.
        """
        task = asyncio.current_task()
        assert task is not None
        self._burst = context
        self.loop.call_soon(self._go_on, context)  # as soon as this waits or is done
        if stands_by:
            self._gate.acquire(timeout=BURST_SECONDS)
        burst_ends = time.monotonic() + BURST_SECONDS
        while self._seated:
            run = self._seated.popleft()
            run.task = task
            running_job.set(run.first)
            before = context.copy()
            outcome: Outcome
            try:
                outcome = Returned(await _call(run))
            except asyncio.CancelledError as error:
                outcome = Raised(run.stop_reason or error)
            except BaseException as error:
                outcome = Raised(error)
            self._end(run, outcome)
            assert run.ended is not None
            if self._burst is not context:
                return
            if task.cancelling() or run.ended > burst_ends or not _are_equal(context, before):
                break
        self._burst = None

    def _cancel(self, run: Run) -> None:
        """A run that has a seat and no task yet will have none."""
        if run.task is not None:
            if run.outcome is None:
                run.task.cancel()
            return
        try:
            self._seated.remove(run)
        except ValueError:
            return  # it waits for a seat, where its reason is seen
        self._burst = None
        self._end(run, Raised(run.stop_reason or asyncio.CancelledError()))

    def _run_in_thread(self, run: Run) -> None:
        running_job.set(run.first)
        outcome: Outcome
        try:
            outcome = Returned(_call(run))
        except Cancel as error:
            outcome = Raised(run.stop_reason or error)  # it heard that it is not wanted; only we know why
        except BaseException as error:
            outcome = Raised(error)
        self._end(run, outcome)

    def _end(self, run: Run, outcome: Outcome) -> None:
        if isinstance(outcome, Raised) and not isinstance(outcome.error, _EXPECTED) and run.stop_reason is None:
            text = "".join(traceback.format_exception(outcome.error))
            write_to_stderr(f"job {run.first.id} {run.first.kind} attempt {run.first.attempt} failed: {text}")
        run.ended = time.monotonic()
        run.outcome = outcome
        self._finished.append(run)
        self._free.append(None)
        if self._waiting and self._fill_seats():
            self._let_begin()
        self.ring()


def _are_equal(context: contextvars.Context, before: contextvars.Context) -> bool:
    try:
        return context == before
    except Exception:  # values that cannot be compared, such as arrays
        return False


def _call(run: Run) -> Any:
    """Call the handler; for `async def` this gives the coroutine. Raises InvalidPayload before anything of it runs."""
    handler = run.handler
    argument = _fitting(run) if handler.batch > 1 else decode(handler, run.jobs[0].payload)
    return handler.function(argument, run.context) if handler.takes_context else handler.function(argument)


def _fitting(run: Run) -> list[Any]:
    """The payloads of a batch call that fit; those that do not are its jobs' own failures. Raises where none does."""
    payloads = []
    run.unfit = {}
    for position, job in enumerate(run.jobs):
        try:
            payloads.append(decode(run.handler, job.payload))
        except InvalidPayload as error:
            run.unfit[position] = error
    if not payloads:
        raise run.unfit[0]
    fitting = [job for position, job in enumerate(run.context.jobs) if position not in run.unfit]
    run.context.jobs = tuple(fitting)
    return payloads
