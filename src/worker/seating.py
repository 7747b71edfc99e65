"""Claimed jobs become runs: prepared while the claim is not durable yet, seated once it is."""

from __future__ import annotations

from ..broker.exchange import Claimed, Reply
from ..handler import Context, Job, handlers
from .hand import Hand
from .run import Run
from .services import WorkerServices

CLAIM_IN_HAND_SECONDS = 5.0  # a job whose earlier attempt still runs here is put back for so long


class Seating:
    """Makes the runs of one worker. `timeout_seconds` is that of handlers without one of their own."""

    def __init__(self, hand: Hand, services: WorkerServices, timeout_seconds: float) -> None:
        self._hand = hand
        self._services = services
        self._timeout_seconds = timeout_seconds
        self._prepared: dict[int, Run] = {}  # of the jobs of the last reply

    def prepare(self, reply: Reply) -> None:
        """What can be done for claims before it is known that they are durable."""
        self._prepared = {job.id: self._new_run(job) for job in reply.claimed or ()}

    def seat(self, claimed: list[Claimed], *, stale: bool) -> list[Run]:
        """Jobs as runs: those of one batch kind together. A job whose earlier attempt is still here is put back.

        So is what is `stale`: since it renewed its lease this worker slept until it was over; others may have them.
        """
        runs: list[Run] = []
        batches: dict[str, Run] = {}
        for job in claimed:
            if stale:
                self._hand.put_back(job.id, job.attempt)
            elif self._hand.knows(job):
                self._hand.put_back(job.id, job.attempt, CLAIM_IN_HAND_SECONDS)
            elif job.kind in batches and len(batches[job.kind].jobs) < batches[job.kind].handler.batch:
                batches[job.kind].jobs.append(job)
            else:
                runs.append(self._prepared.pop(job.id))
                if runs[-1].handler.batch > 1:
                    batches[job.kind] = runs[-1]
        for run in runs:
            if run.handler.batch > 1:
                run.context.jobs = tuple(map(_known, run.jobs))
            self._hand.add(run)
        return runs

    def _new_run(self, job: Claimed) -> Run:
        handler = handlers()[job.kind]
        timeout_seconds = handler.timeout_seconds or self._timeout_seconds
        return Run(handler, [job], Context(_known(job), self._services), timeout_seconds)


def _known(job: Claimed) -> Job:
    return Job(id=job.id, kind=job.kind, queue=job.queue, attempt=job.attempt, failures=job.failures,
               max_attempts=job.max_attempts, priority=job.priority, user_id=job.user_id, plan=job.plan,
               parent_id=job.parent_id, created_at=job.created_at)  # fmt: skip
