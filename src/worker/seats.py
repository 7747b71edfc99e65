"""A worker's seats: claims jobs into the free ones, runs them, settles what ended, all in one statement a round."""

from __future__ import annotations

import random
import time
from collections import Counter

from ..broker.exchange import Reply, Request
from ..broker.surroundings import Surroundings
from ..contract import HEARTBEAT_SECONDS
from ..handler import Cancel, handlers
from .apart import Apart
from .finished import FinishedJobs
from .hand import LOST, Hand
from .identity import Identity, known_kinds, registration
from .journal import write_to_stderr
from .link import Link, Rejected
from .outcome import HandedBack, Raised, TimedOut
from .pace import QUICK_JOBS, hand_size, is_plenty
from .run import Run
from .runner import Runner
from .seating import Seating
from .services import WorkerServices
from .tally import Tally

FLUSH_JOBS = 50  # settlements are written together, at the latest when so many wait
FLUSH_SECONDS = 0.020  # or the queue heard the last of us so long ago: what ends alone is written at once
BUSY_RENEW_SECONDS = 1.0  # with jobs in hand: progress goes out, cancellations come in
TASK_GRACE_SECONDS = 10.0  # for an `async def` handler to clean up after its deadline
SHARE_SECONDS = 0.003  # after a full claim, idle siblings have so long to take the next jobs before we do
REFUSED_SECONDS = 1.0  # before the queue is asked again that answered with an error


class Seats:
    """The queue's side of one worker. `turn` does what is due; `due_at` says when that is; nothing here waits."""

    def __init__(self, me: Identity, around: Surroundings) -> None:
        self._concurrency = around.settings.pools[me.pool].concurrency
        self._has_tasks = any(handler.is_async for handler in handlers().values())
        self.runner = Runner(self._concurrency)
        self.hand = Hand(around.settings.jobs.retry_delay_seconds, random.random)
        kinds = known_kinds(around.settings.jobs.max_attempts)
        self.link = Link(around.database, registration(me, around), kinds, random.random)
        self.apart = Apart(self.hand, self.link)
        self.closed = False  # draining: nothing more is claimed
        self.more_due = False  # beside what the last turn claimed there was work for a sibling
        self.stuck: str | None = None  # why this worker must be replaced
        self._jobs = around.settings.jobs
        self._finished_jobs = FinishedJobs(around.settings.logs)
        self._tally = Tally()
        services = WorkerServices(around.settings, around.home, around.database)
        self._seating = Seating(self.hand, services, around.settings.jobs.timeout_seconds)
        self.claimed_kinds: Counter[str] = Counter()  # since the last report, which takes them
        self._woken = True  # look for work as soon as there is a link
        self._appetite = 1  # how many to claim at once: doubles while there is more, so that idle siblings get a share
        self._share_until: float | None = None  # a full claim left work for siblings; then we look again
        self._heard_at = 0.0  # when the queue answered last
        self._ended_since, self._ran_since = 0, 0.0  # attempts that ended since then, and their seconds together
        self._renewed_at = self._renew_at = self._poll_at = 0.0
        self._overdue_at = float("inf")  # no run is overdue before

    @property
    def free(self) -> int:
        """Seats for which work may be claimed now."""
        return (
            0
            if self.closed or not self.link.up or self.hand.runs_alone
            else max(0, self._concurrency - len(self.hand.active))
        )

    @property
    def listens(self) -> bool:
        """Whether a wake-up is ours to take: there is a seat, and no sibling has the first turn."""
        return self.free > 0 and self._share_until is None

    def wake(self) -> None:
        """Somebody rang: look for work at the next turn."""
        self._woken = True

    def speak(self) -> None:
        """The server may have gone away: say something at the next turn, which tells."""
        self._renew_at = 0.0

    def due_at(self, now: float) -> float:
        """The monotonic instant at which `turn` has something to do."""
        if not self.link.up:
            return min(self.link.retry_at, self._overdue_at)
        dues = [self._renew_at, self._overdue_at, self.apart.due_at, self.link.ask_at]
        if self.free:
            dues.append(now if self._woken else self._look_at)
        if self.runner.has_waiting:
            dues.append(self._heard_at + FLUSH_SECONDS)
        if self.hand.unsaid:
            dues.append(now if self._must_flush(now) else self._heard_at + FLUSH_SECONDS)
        return min(dues)

    def turn(self, now: float) -> None:
        """Collect outcomes, stop what is overdue, and speak to the queue where there is reason to."""
        self.more_due = False
        for run in self.runner.take_finished():
            assert run.outcome is not None
            self.hand.finish(run, run.outcome)
        self._stop_overdue(now)
        self._take_note()
        if self.runner.has_waiting and now >= self._heard_at + FLUSH_SECONDS:
            self.hand.put_back_runs(self.runner.take_waiting())  # not so quick after all: a sibling may have a seat
        if not self.link.up or now >= self.link.ask_at:
            self._connect(now)
            return  # that there is a link is said before the queue is asked for work
        if now >= self.apart.due_at and not self._went_on(self.apart.try_aside(now)):
            return
        renew = now >= self._renew_at
        look = self.free > 0 and (self._woken or now >= self._look_at)
        if renew or look or self._must_flush(now):
            want = min(self._room(), self._appetite) if look or self.hand.unsaid else 0
            self._exchange(want, renew, now)

    def drain(self) -> None:
        """Claim nothing more, and give back what need not be waited for."""
        self.closed = True
        self.hand.put_back_runs(self.runner.take_waiting())
        for run in self.hand.active:
            if run.handler.hand_back:
                self.runner.stop(run, HandedBack())

    def leave(self) -> bool:
        """Settle what ended, hand back the rest, and be forgotten; False where the queue could not be told."""
        self.hand.put_back_runs(self.runner.take_waiting())
        for run in list(self.hand.active):
            self.runner.stop(run, HandedBack())
            self.hand.finish(run, Raised(HandedBack()))
        self._take_note()
        if self.link.up and self.hand.aside:
            self._went_on(self.apart.try_aside(time.monotonic()))
        if self.link.up and not (self.hand.empty and not self._tally):
            self._exchange(0, True, time.monotonic())
        while self.link.up and self.hand.has_logs:
            self._exchange(0, True, time.monotonic())
        told = self.link.up or self.hand.empty
        self.link.leave()
        return told

    def _room(self) -> int:
        """How many jobs may be claimed with what is to be said."""
        if self.closed or self.hand.runs_alone:
            return 0
        size = hand_size(self._concurrency, self._ended_since, self._ran_since)
        return max(0, size - len(self.hand.active))

    def _take_note(self) -> None:
        """Of what ended: for the log, the statistics, and how much to take in hand."""
        for job, settlement, seconds in self.hand.finished:
            self._finished_jobs.add(job, settlement, seconds)
            self._tally.add(job, settlement, seconds)
            self._ran_since += seconds
        self._ended_since += len(self.hand.finished)
        self.hand.finished.clear()
        self._finished_jobs.write()

    def _must_flush(self, now: float) -> bool:
        rested = now - self._heard_at >= FLUSH_SECONDS
        many = self.hand.unsaid >= FLUSH_JOBS and not self._has_plenty
        return self.hand.unsaid > 0 and (rested or many or not self.hand.active)

    @property
    def _look_at(self) -> float:
        """When to look for work although nobody rang."""
        if self._share_until is None:
            return self._poll_at
        return self._heard_at + FLUSH_SECONDS if self._has_plenty else self._share_until

    @property
    def _has_plenty(self) -> bool:
        return is_plenty(len(self.hand.active), self._concurrency, self._ended_since, self._ran_since)

    def _connect(self, now: float) -> None:
        held = self.link.try_connect(now)
        if held is None:
            return
        self._stop_lost(self.hand.reconcile(held))
        self._woken = True
        self._renew_at = now

    def _exchange(self, want: int, renew: bool, now: float) -> None:
        request = self.hand.request(want, self._jobs.lease_seconds if renew else None)
        if renew:
            request.stats = self._tally.stats()
        if self.link.too_slow:
            self._say_apart(request, now, None)
            return
        try:
            reply = self.link.exchange(
                request, now, self._seating.prepare, self._stand_by if want and self._woken else None
            )
        except Rejected as error:
            self._say_apart(request, now, error)
            return
        if reply is None or not self._went_on(reply):
            return
        self.hand.said(request)
        if renew:
            self._renewed_at = now
        self._begin(reply, want, now)
        for job_id in reply.lost or ():
            write_to_stderr(f"job {job_id} finished too late: its claim had been given to another; nothing written\n")
        for run in self.hand.unwanted(reply.cancel or ()):
            self.runner.stop(run, Cancel("cancelled by request"))
        if renew:
            self._tally.clear()
        self._heard_at = time.monotonic()
        self._ended_since, self._ran_since = 0, 0.0
        busy = self.hand.active or self._tally
        renew_in = BUSY_RENEW_SECONDS if busy else HEARTBEAT_SECONDS
        self._renew_at = now + renew_in if renew else min(self._renew_at, now + renew_in)
        if self.hand.has_logs:
            self._renew_at = now

    def _stand_by(self) -> None:
        """Somebody rang: while the queue looks, the loop can get ready."""
        if self._has_tasks:
            self.runner.stand_by()

    def _went_on(self, reply: Reply | None) -> bool:
        """Whether the queue has answered and still knows this worker; where it does not, nothing in hand is its own."""
        if reply is not None and reply.gone:
            self._stop_lost(self.hand.reconcile(set()))
        return reply is not None and not reply.gone

    def _say_apart(self, request: Request, now: float, why: Rejected | None) -> None:
        if not self._went_on(self.apart.say(request, now, why)):
            return
        if request.stats:
            self._tally.clear()
        if why is None:
            return  # the whole is said again at once, without what was too slow
        self._woken = False
        self._share_until = None
        self._poll_at = self._renew_at = now + REFUSED_SECONDS

    def _begin(self, reply: Reply, want: int, now: float) -> None:
        """Start what was claimed, before anything else is done with a reply: a job waits for this."""
        stale = time.monotonic() - self._renewed_at > self._jobs.lease_seconds
        runs = self._seating.seat(reply.claimed or [], stale=stale)
        self.runner.start(runs)
        if stale:
            self._renew_at = now
        self._overdue_at = min([self._overdue_at, *(run.deadline for run in runs)])
        if want:
            got_all = len(runs) >= want
            self.more_due = got_all and reply.more
            self._appetite = min(2 * self._appetite, max(QUICK_JOBS, self._concurrency)) if got_all else 1
            self._share_until = now + SHARE_SECONDS if got_all else None
            self._woken = False
            self._poll_at = now + self._jobs.poll_interval_seconds
            self.apart.no_claims = None
            self.claimed_kinds.update(job.kind for job in reply.claimed or ())

    def _stop_overdue(self, now: float) -> None:
        """A task is cancelled at its deadline and has a grace to clean up. What does not end then, as a thread never
        does, is settled as timed out, and this worker is to be replaced.
        """
        if now < self._overdue_at:
            return
        for run in [run for run in self.hand.active if run.seated]:
            reason = TimedOut(f"timed out after {run.timeout_seconds:g} s")
            if now >= run.deadline + (TASK_GRACE_SECONDS if run.handler.is_async else 0.0):
                run.context.cancel_requested = True
                self.hand.finish(run, Raised(reason))
                self.stuck = f"{run.first.kind} of job {run.first.id} overran its timeout and cannot be stopped"
            elif now >= run.deadline:
                self.runner.stop(run, reason)
        self._overdue_at = min((_next_check(run, now) for run in self.hand.active), default=float("inf"))

    def _stop_lost(self, runs: list[Run]) -> None:
        for run in runs:
            self.runner.stop(run, LOST)


def _next_check(run: Run, now: float) -> float:
    return run.deadline if now < run.deadline else run.deadline + TASK_GRACE_SECONDS
