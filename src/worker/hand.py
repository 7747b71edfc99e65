"""What a worker has in hand and has not said yet: runs in, settlements out. Talks to nobody."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from ..broker.exchange import Again, Claimed, Ended, FollowUp, Parent, Progress, Request
from ..handler import ClaimLost, Context
from .outcome import HandedBack, Outcome, Raised, Settlement, follow_ups, settle
from .run import Run

Claim = tuple[int, int]  # a job's id and the attempt that it was handed out as

UNSETTLED = "could not be settled"
LOGS_AT_ONCE = 1000  # entries a request: 50 ms; all of a flood took longer than a statement may
LOST = ClaimLost("the claim was lost: this worker had been given up")


class Hand:
    """The runs of one worker, and the settlements that the database has not confirmed.

    A job stays known by its id from its claim until its settlement is confirmed, so that an answer that was lost
    on the way is told from a new claim. A job whose claim was lost can be handed out to this worker again while its
    earlier run has not stopped: what is said of one attempt never touches what is to be said of another.
    """

    def __init__(self, retry_delay_seconds: float, jitter: Callable[[], float]) -> None:
        self._retry_delay_seconds = retry_delay_seconds
        self._jitter = jitter
        self._active: dict[Run, None] = {}  # in the order in which they began
        self._by_id: dict[int, tuple[int, Run]] = {}  # job -> attempt, run
        self._unsaid: dict[Claim, Settlement] = {}
        self.aside: dict[Claim, int] = {}  # of these, what cannot be said with the others; how often it was tried alone
        self._lost: set[Claim] = set()  # of runs that have not stopped yet: nothing of them is written
        self._follow_ups: list[FollowUp] = []
        self._logs: list[dict[str, object]] = []
        self._told_progress: dict[int, tuple[int, int]] = {}
        self.finished: list[tuple[Claimed, Settlement, float]] = []  # with its seconds; for the log to take
        self.jobs_done = 0
        self.jobs_failed = 0

    @property
    def active(self) -> Collection[Run]:
        """The runs that have not ended, those that wait for a seat included, oldest first."""
        return self._active.keys()

    @property
    def unsaid(self) -> int:
        """How many settlements wait to be written with the next request."""
        return len(self._unsaid) - len(self.aside)

    @property
    def empty(self) -> bool:
        return not self._active and not self._unsaid and not self._logs

    @property
    def has_logs(self) -> bool:
        """Whether log entries wait to be written."""
        return bool(self._logs)

    @property
    def runs_alone(self) -> bool:
        """Whether a suspect is in hand: a worker died with it before, and nothing else may share the next death.

        It is handed out to empty hands alone, and keeps them closed: the first run tells.
        """
        oldest = next(iter(self._active), None)
        return oldest is not None and oldest.first.deaths > 0

    def knows(self, job: Claimed) -> bool:
        return job.id in self._by_id

    def add(self, run: Run) -> None:
        """Take a run in hand; it has just been claimed."""
        self._active[run] = None
        for job in run.jobs:
            self._by_id[job.id] = (job.attempt, run)

    def put_back(self, job_id: int, attempt: int, delay_seconds: float = 0.0) -> None:
        """Hand a claim back that this worker cannot run, to its old place in the line where there is no delay."""
        keeps_place = delay_seconds == 0
        self._unsaid[job_id, attempt] = Again(job_id, attempt, delay_seconds=delay_seconds, keeps_place=keeps_place)

    def put_back_runs(self, runs: Iterable[Run]) -> None:
        """Hand the jobs of runs back that have not begun."""
        for run in runs:
            del self._active[run]
            for job in run.jobs:
                if (job.id, job.attempt) in self._lost:
                    self._lost.discard((job.id, job.attempt))
                    self._forget([(job.id, job.attempt)])
                else:
                    self.put_back(job.id, job.attempt)

    def finish(self, run: Run, outcome: Outcome) -> None:
        """Turn a run's outcome into settlements; a second outcome of the same run is ignored."""
        if run not in self._active:
            return
        del self._active[run]
        context, seconds = run.context, run.seconds
        if context.logged:
            self._collect_logs(context)
        if isinstance(outcome, Raised) and outcome.error is LOST:
            outcome = Raised(HandedBack())  # for those of its jobs that were not lost
        unsaid_consequences = bool(context.enqueued or context.done_next)
        for job, its_outcome in run.outcomes(outcome):
            claim = (job.id, job.attempt)
            if claim in self._lost:
                self._lost.discard(claim)
                self._forget([claim])
                continue
            settlement = settle(job, its_outcome, context, self._retry_delay_seconds, self._jitter())
            self._unsaid[claim] = settlement
            self.finished.append((job, settlement, seconds))
            counts_as = settlement.counts_as
            if counts_as == "succeeded":
                self.jobs_done += 1
            elif counts_as in ("dead", "failed"):
                self.jobs_failed += 1
            if unsaid_consequences and (specs := follow_ups(settlement, context)):
                unsaid_consequences = False  # of a batch call once, with the first of its jobs that succeeded
                self._follow_ups += [FollowUp(job.id, spec) for spec in specs]

    def request(self, want: int, renew_seconds: float | None) -> Request:
        """Everything there is to say but what was set aside, with the first of the logs, and how much is wanted."""
        progress: list[Progress] = []
        if renew_seconds is not None:  # as often as runs are asked for their news; what has ended was asked then
            for run in self._active:
                self._collect_logs(run.context)
            progress = self._news_of_progress()
        request = Request(
            want=want,
            in_hand=len(self._active),
            renew_seconds=renew_seconds,
            follow_ups=list(self._follow_ups),
            progress=progress,
            logs=self._logs[:LOGS_AT_ONCE],
        )
        settlements: Iterable[Settlement] = self._unsaid.values()
        if self.aside:
            ids = {job_id for job_id, _ in self.aside}
            request.follow_ups = [item for item in self._follow_ups if item.id not in ids]
            settlements = [item for claim, item in self._unsaid.items() if claim not in self.aside]
        _add(request, settlements)
        return request

    def alone(self, claim: Claim) -> Request:
        """One settlement with what follows from it."""
        request = Request(follow_ups=[item for item in self._follow_ups if item.id == claim[0]])
        _add(request, [self._unsaid[claim]])
        return request

    def said(self, request: Request) -> None:
        """The database has confirmed `request`: forget what it settled."""
        self._forget((item.id, item.attempt) for items in _settlements(request) for item in items)
        if request.follow_ups:
            said = {item.id for item in request.follow_ups}
            self._follow_ups = [item for item in self._follow_ups if item.id not in said]
        del self._logs[: len(request.logs)]
        for item in request.progress:
            self._told_progress[item.id] = (item.done, item.total)

    def pieces(self, request: Request) -> list[tuple[Claim | None, Request]]:
        """The same, one thing a request, settlements with their claim: to find what cannot be stored."""
        claims = [(item.id, item.attempt) for kind in _settlements(request) for item in kind]
        pieces: list[tuple[Claim | None, Request]] = []
        if request.stats:
            pieces.append((None, Request(stats=request.stats)))
        pieces += [(claim, self.alone(claim)) for claim in claims]
        pieces += [(None, Request(progress=[item])) for item in request.progress]
        pieces += [(None, Request(logs=[entry])) for entry in request.logs]
        return pieces

    def refuse(self, claim: Claim, reason: str) -> bool:
        """The database cannot store this settlement: the job ends dead with the reason, without its result.

        False where that is what it cannot store.
        """
        refused = self._unsaid[claim]
        if isinstance(refused, Ended) and (refused.error or "").startswith(UNSETTLED):
            return False
        self._unsaid[claim] = Ended(*claim, "dead", error=f"{UNSETTLED}: {reason}")
        self._follow_ups = [item for item in self._follow_ups if item.id != claim[0]]
        return True

    def run_of(self, job_id: int) -> Run | None:
        """The run of a job that is still going."""
        _, run = self._by_id.get(job_id, (0, None))
        return run if run in self._active else None

    def unwanted(self, cancelled: Iterable[int]) -> list[Run]:
        """The runs that are still going and all of whose jobs are cancelled: a batch call goes on for the others."""
        ids = set(cancelled)
        runs = dict.fromkeys(run for job_id in ids if (run := self.run_of(job_id)) is not None)
        return [run for run in runs if all(job.id in ids for job in run.jobs)]

    def reconcile(self, held: set[Claim]) -> list[Run]:
        """After a reconnect: forget what is not this worker's any more and put back what it never heard of.

        `held` is (id, attempt) of every claim that the database knows. Returns the runs whose claims were lost.
        """
        known = {(job_id, attempt) for job_id, (attempt, _) in self._by_id.items()}
        for job_id, attempt in held - known:
            self.put_back(job_id, attempt)
        lost = known - held
        lost_ids = {job_id for job_id, _ in lost}
        self._follow_ups = [item for item in self._follow_ups if item.id not in lost_ids]
        self._lost |= {claim for claim in lost if self.run_of(claim[0]) is not None}
        self._forget(lost - self._lost)
        return [run for run in self._active if any((job.id, job.attempt) in lost for job in run.jobs)]

    def _forget(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            job_id, attempt = claim
            self._unsaid.pop(claim, None)
            if self.aside:
                self.aside.pop(claim, None)
            if self._by_id.get(job_id, (None, None))[0] == attempt:
                del self._by_id[job_id]
                self._told_progress.pop(job_id, None)

    def _collect_logs(self, context: Context) -> None:
        count = len(context.logged)  # handlers' threads add more at the end meanwhile
        self._logs += [{"kind": "log.write", "payload": entry} for entry in context.logged[:count]]
        del context.logged[:count]

    def _news_of_progress(self) -> list[Progress]:
        news = []
        for run in self._active:
            now = run.context.progress_now
            if now is not None and self._told_progress.get(run.first.id) != now:
                news.append(Progress(run.first.id, run.first.attempt, *now))
        return news


def _settlements(request: Request) -> tuple[list[Ended], list[Again], list[Parent]]:
    return request.ended, request.again, request.parents


def _add(request: Request, settlements: Iterable[Settlement]) -> None:
    for settlement in settlements:
        match settlement:
            case Ended():
                request.ended.append(settlement)
            case Again():
                request.again.append(settlement)
            case Parent():
                request.parents.append(settlement)
