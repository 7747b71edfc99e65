"""A queue beside its model, and what must hold after each step."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import psycopg
from broker_model import MOST_LIVE, Job, Model
from broker_terms import ADMISSION, EMPTY, HELD_AND_TURNS, HOLDS, LATER_SECONDS, LIMITS, RATES, ROWS, SEATS, Said, Seen
from hypothesis.stateful import RuleBasedStateMachine, invariant

from workerctl.broker.connection import connect
from workerctl.broker.exchange import Again, Ended, Parent, Reply, Request, exchange
from workerctl.broker.fleet import next_start_seconds, queues_with_due_jobs
from workerctl.broker.limits import configure_limits


class WatchedQueue(RuleBasedStateMachine):
    """An empty queue at first; `model` is what it should be, `seen` what it is."""

    url: ClassVar[str]
    connections: ClassVar[list[psycopg.Connection[Any]]]

    def __init__(self) -> None:
        super().__init__()
        self.connection, self.other = self.connections
        self.connection.execute(EMPTY)
        self.model = Model(LIMITS, RATES, ADMISSION)
        self.configure()
        self.tags = itertools.count(1)
        self.numbers = itertools.count(1)
        self.trials = itertools.count()
        self.incarnations: dict[int, str] = {}
        self.sessions: dict[int, int] = {}
        self.handed: list[tuple[int, int]] = []  # (job, attempt) of every claim ever
        self.seen: dict[int, Seen] = {}

    @invariant()
    def every_row_is_as_the_model_has_it(self) -> None:
        self._look()
        rows = {job_id: seen.row for job_id, seen in self.seen.items()}
        assert rows == {job.id: job.row for job in self.model.jobs.values()}
        for job in self.model.live():
            assert job.status != "pending" or self.seen[job.id].due == job.due, job

    @invariant()
    def every_row_keeps_the_rules_of_its_table(self) -> None:
        assert self.connection.execute("SELECT id, rule FROM workerctl.unsound").fetchall() == []

    @invariant()
    def what_is_not_ones_own_cannot_be_settled(self) -> None:
        """Neither by its holder under another attempt, nor by another under its attempt."""
        running = [job for job in self.model.jobs.values() if job.status == "running"]
        if not running:
            return
        trial = next(self.trials)
        job = running[trial % len(running)]
        others = [worker for worker in self.model.workers if worker != job.holder]
        for worker, attempt in ((job.holder, job.attempt - 1), *((other, job.attempt) for other in others[:1])):
            assert worker is not None
            late: list[dict[str, Any]] = [
                {"ended": [Ended(job.id, attempt, "dead")]},
                {"again": [Again(job.id, attempt, failed=True)]},
                {"parents": [Parent(job.id, attempt, [{"kind": "plain", "payload": {"tag": -1}}])]},
            ]
            reply = exchange(self.connection, worker, Request(**late[trial % 3]))
            assert reply.lost == [job.id], f"{worker} settled {job} as attempt {attempt}: {late[trial % 3]}"

    @invariant()
    def seats_are_taken_by_running_jobs_alone(self) -> None:
        seats = dict(self.connection.execute(SEATS).fetchall())
        names = {name for name, most in self.model.limits.items() if most is not None and "{" not in name}
        names |= {key for job in self.model.live() for name, key in job.keys if self.model.limits[name] is not None}
        for name in names:
            assert seats.get(name, 0) == self.model.taken(name), name

    @invariant()
    def nobody_is_held_beside_a_free_seat(self) -> None:
        """Where a key has a free seat and jobs wait for it, another of its jobs has been let in and stands in line."""
        holds = dict(self.connection.execute(HOLDS).fetchall())
        for job_id, seen in self.seen.items():
            if seen.held:
                key = holds[job_id]
                limit = next(name for name, rendered in self.model.jobs[job_id].keys if rendered == key)
                most = self.model.limits[limit]
                free = MOST_LIVE if most is None else most - self.model.taken(key)
                in_line = (job for job in self.model.live() if job.status == "pending" and job.due)
                let_in = [job for job in in_line if not self.seen[job.id].held and key in dict(job.keys).values()]
                assert free <= 0 or let_in, f"{job_id} waits for {key}, which has {free} seats and nobody in line"

    @invariant()
    def a_users_jobs_stand_a_second_of_rank_apart(self) -> None:
        forward = [job.id for job in self.model.live() if job.forward]
        for lane, user, priority, jobs, ranks, ahead in self.connection.execute(HELD_AND_TURNS, [forward]).fetchall():
            assert ahead >= 0, "nobody stands before the time at which the job was due"
            assert user is None or jobs == ranks, f"lane {lane}: jobs of {user} with priority {priority} share a rank"

    @invariant()
    def a_queue_with_a_job_that_may_be_claimed_is_known_to_whoever_wakes_workers(self) -> None:
        due = queues_with_due_jobs(self.connection)
        for job in self.model.live():
            if (
                job.status == "pending"
                and job.due
                and not self.seen[job.id].held
                and job.queue not in self.model.paused
            ):
                rests = (job.kind, job.queue) in self.model.resting
                assert due[job.queue] == 0 or (rests and due[job.queue] > 0), f"nobody is woken for {job}"
        assert not due.keys() & self.model.paused
        later = [job for job in self.model.live() if job.status == "pending" and not job.due and not job.deaths]
        if any(job.queue not in self.model.paused for job in later):
            assert next_start_seconds(self.connection) <= LATER_SECONDS, later

    def configure(self) -> None:
        """Say the limits and rates that the config has in the model."""
        limits = {name: most for name, most in self.model.configured.items() if most is not None}
        rates = {name: (most, LATER_SECONDS) for name, most in self.model.rates.items()}
        configure_limits(self.connection, limits, rates, ADMISSION)
        self.model.resting.clear()  # it may name another provider for a kind

    def _heard(self, said: Said, reply: Reply) -> None:
        assert not reply.gone
        assert not reply.lost, f"the worker holds what it settled: {reply.lost}"
        said.take_effect()

    def _look(self) -> None:
        """What the database has now; new rows get to know the model."""
        self.seen = self._seen()
        new = {job_id: seen.tag for job_id, seen in self.seen.items() if job_id not in self.model.jobs}
        if new or self.model.expected:
            self.model.born(new)

    def _rows(self) -> dict[int, tuple[Any, ...]]:
        return {job_id: seen.row for job_id, seen in self._seen().items()}

    def _seen(self) -> dict[int, Seen]:
        found: dict[int, Seen] = {}
        for job_id, *row, tag, due, held, rank, reserved_by in self.connection.execute(ROWS).fetchall():
            assert job_id not in found, f"{job_id} is in two places"
            found[job_id] = Seen(tuple(row), tag, due, held, rank, reserved_by)
        return found

    def _claimed(self, worker: int, request: Request, reply: Reply) -> None:
        """What was handed out was free to be, in order; and where something was, nobody went away empty."""
        claimed = reply.claimed or []
        waiting = [job for job in self.model.live() if self.model.may_start(job, worker)]
        suspects = [job for job in waiting if job.deaths]
        busy_for = [job for job in suspects if request.in_hand and not self._is_reserved_by_another(job, worker)]
        if (
            request.want
            and waiting
            and not claimed
            and not busy_for
            and not all(self.seen[job.id].held for job in waiting)
        ):
            again = [exchange(self.connection, worker, Request(want=1, in_hand=request.in_hand)) for _ in range(3)]
            claimed = [job for reply in again for job in reply.claimed or []]
            assert claimed or (request.in_hand and suspects == waiting), f"nothing came of {waiting}"
            self._look()
        if claimed and claimed[0].deaths:
            assert len(claimed) == 1, f"a suspect runs alone: {claimed}"
            assert request.in_hand == 0
        assert request.want or not claimed
        for job in claimed:
            self.model.hand_out(job.id, job.attempt, worker)
            self.handed.append((job.id, job.attempt))
        self._in_order([self.model.jobs[job.id] for job in claimed], worker)

    def _is_reserved_by_another(self, job: Job, worker: int) -> bool:
        reserved_by = self.seen[job.id].reserved_by
        return reserved_by not in (None, worker) and reserved_by in self.model.workers

    def _in_order(self, claimed: list[Job], worker: int) -> None:
        """Of one lane the first by rank: who was left there could not start, or stands behind."""
        lanes = {(job.kind, job.queue, bool(job.keys)) for job in claimed if not job.deaths}
        for lane in lanes:
            ranks = [self.seen[job.id].rank for job in claimed if (job.kind, job.queue, bool(job.keys)) == lane]
            for job in self.model.live():
                if (job.kind, job.queue, bool(job.keys)) == lane and not job.deaths and not self.seen[job.id].held:
                    late = self.model.may_start(job, worker) and self.seen[job.id].rank < max(ranks)
                    assert not late, f"{job} was passed over"


def connections(url: str) -> list[psycopg.Connection[Any]]:
    return [connect(url, application="model"), connect(url, application="model, too")]
