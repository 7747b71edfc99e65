"""The queue as a small pure model: what every row must be after whatever is said to the database. No SQL, no time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

LIVE = ("pending", "running", "waiting")
MOST_LONE_DEATHS = 3
MOST_LIVE = 1_000_000


@dataclass(slots=True)
class Job:
    """One job. `due` stands for the clock: a later `run_at` is not due until an hour has passed."""

    id: int
    tag: int
    kind: str
    queue: str
    priority: int = 0
    user: str | None = None
    model: str | None = None
    plan: str | None = None
    unique: str | None = None
    parent: int | None = None
    due: bool = True
    forward: bool = False  # somebody wanted it at once that was for later: it does not stand in its user's line
    status: str = "pending"
    holder: int | None = None
    attempt: int = 0
    failures: int = 0
    deaths: int = 0
    lone_deaths: int = 0
    cancel: bool = False
    on_done: dict[str, Any] | None = None
    templates: tuple[str, ...] = ()  # the limits by key that there were when it was enqueued
    total: int = 0
    ended: Counter[str] = field(default_factory=Counter)  # children, by how they ended

    @property
    def keys(self) -> list[tuple[str, str]]:
        """(limit, key) of each key's limit that it falls under."""
        found = [("user:{user_id}", f"user:{self.user}")] if self.user else []
        found += [("model:{payload.model}", f"model:{self.model}")] if self.model else []
        return [(name, key) for name, key in found if name in self.templates]

    @property
    def row(self) -> tuple[Any, ...]:
        """As the database must have it."""
        return (self.kind, self.queue, self.status, self.attempt, self.failures, self.deaths, self.holder, self.parent,
                self.cancel and self.status in LIVE, self.total, self.ended["succeeded"], self.ended["dead"],
                self.ended["cancelled"])  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """A worker: what it can run and from where. `queues` None is every one."""

    kinds: tuple[str, ...]
    queues: tuple[str, ...] | None


class Model:
    """All jobs there ever were, and who holds them. Its methods are the promises."""

    def __init__(self, limits: dict[str, int | None], rates: dict[str, int], admission: dict[str, int]) -> None:
        self.jobs: dict[int, Job] = {}
        self.workers: dict[int, Server] = {}
        self.limits = dict(limits)
        self.configured = dict(limits)
        self.rates = dict(rates)
        self.admission = admission
        self.starts: Counter[str] = Counter()  # within the hour
        self.paused: set[str] = set()
        self.resting: set[tuple[str, str]] = set()  # kinds, in which queues, whose provider is to be left alone
        self.expected: list[
            dict[str, Any]
        ] = []  # specs of jobs that must have come to be; they get their ids by `born`

    def born(self, new: dict[int, int]) -> None:
        """Jobs that the database has and the model had not, id -> tag: exactly the expected ones."""
        wanted = Counter(spec["payload"]["tag"] for spec in self.expected)
        assert Counter(new.values()) == wanted, f"came to be: {new}, expected: {self.expected}"
        templates = tuple(name for name, most in self.limits.items() if most is not None and "{" in name)
        specs = sorted(self.expected, key=lambda spec: spec["payload"]["tag"])
        for (job_id, tag), spec in zip(sorted(new.items(), key=lambda item: (item[1], item[0])), specs, strict=True):
            self.jobs[job_id] = Job(
                job_id, tag, spec["kind"], spec.get("queue") or "default", spec.get("priority", 0), spec.get("user_id"),
                spec["payload"].get("model"), spec.get("plan"), spec.get("unique_key"), spec.get("parent"),
                due="run_at" not in spec, templates=templates,
            )  # fmt: skip
        self.expected.clear()

    def keys_above(self, job: Job) -> set[str]:
        """Unique keys of this job and of those that wait for it."""
        parent = self.jobs.get(job.parent) if job.parent is not None else None
        return ({job.unique} if job.unique else set()) | (self.keys_above(parent) if parent else set())

    def with_unique(self, key: str | None) -> Job | None:
        """The unfinished job that has this key."""
        return next((job for job in self.live() if key is not None and job.unique == key), None)

    def live(self) -> Iterator[Job]:
        return (job for job in self.jobs.values() if job.status in LIVE)

    def in_hand(self, worker: int) -> list[Job]:
        return [job for job in self.jobs.values() if job.holder == worker]

    def is_full(self, plan: str | None, more: int) -> bool:
        """Whether so many more root jobs of a plan are past admission."""
        most = self.admission.get(f"plan:{plan}")
        pending = sum(1 for job in self.live() if job.status == "pending" and job.parent is None and job.plan == plan)
        return most is not None and pending + more > most

    def enqueue(self, specs: Iterable[dict[str, Any]], parent: int | None = None) -> int:
        """Expect these jobs, but for those whose unique key an unfinished job has; how many will be."""
        taken = {spec.get("unique_key") for spec in self.expected} - {None}
        made = 0
        for spec in specs:
            key = spec.get("unique_key")
            if key is None or (key not in taken and self.with_unique(key) is None):
                self.expected.append(spec | {"parent": parent})
                taken.add(key)
                made += 1
        return made

    def expect(self, spec: dict[str, Any]) -> None:
        """A follow-up of a settlement that counted."""
        self.enqueue([spec])

    def owns(self, worker: int, job_id: int, attempt: int) -> bool:
        """The fence."""
        job = self.jobs.get(job_id)
        return job is not None and worker in self.workers and job.holder == worker and job.attempt == attempt

    def end(self, job: Job, status: str, *, failed: bool = False) -> None:
        """A job ends once, and counts into its parent, which ends with its last child."""
        assert job.status in LIVE
        job.status, job.holder, job.failures = status, None, job.failures + failed
        if job.parent is None:
            return
        parent = self.jobs[job.parent]
        parent.ended[status] += 1
        if parent.status == "waiting" and sum(parent.ended.values()) == parent.total:
            cancelled = parent.cancel or parent.ended["cancelled"] == parent.total
            some = parent.ended["succeeded"] > 0
            continues = parent.on_done is not None and some and not parent.cancel
            if continues:
                assert parent.on_done is not None
                self.enqueue([parent.on_done])
            self.end(parent, "cancelled" if cancelled else "succeeded" if some else "dead")

    def put_back(self, job: Job, *, failed: bool, due: bool) -> None:
        """To be tried again; one whose cancellation was asked for is not."""
        job.failures += failed
        if job.cancel:
            self.end(job, "cancelled")
            return
        job.status, job.holder, job.due = "pending", None, due

    def fan_out(self, job: Job, children: list[dict[str, Any]], on_done: dict[str, Any] | None) -> None:
        if job.cancel:
            self.end(job, "cancelled")
            return
        made = self.enqueue(children, job.id)
        if made == 0:
            self.end(job, "succeeded")
            self.enqueue([on_done] if on_done else [])
            return
        job.status, job.holder, job.total, job.on_done = "waiting", None, made, on_done

    def release(self, worker: int, *, died: bool) -> int:
        """A worker is gone: all it held goes back, deaths are counted, and no job kills for ever."""
        hand = self.in_hand(worker)
        for job in hand:
            job.deaths += died
            job.lone_deaths += died and len(hand) == 1
            if job.cancel:
                self.end(job, "cancelled")
            elif job.lone_deaths >= MOST_LONE_DEATHS:
                self.end(job, "dead")
            else:
                job.status, job.holder = "pending", None
        del self.workers[worker]
        return len(hand)

    def cancel(self, job_id: int) -> int:
        """A job and everything below it: pending ones end, others are asked to."""
        family = [job for job in self.live() if job_id in (job.id, *self._ancestors(job))]
        for job in family:
            job.cancel = job.cancel or job.status != "pending"
        for job in [job for job in family if job.status == "pending"]:
            self.end(job, "cancelled")
        return len(family)

    def retry(self, job_id: int) -> int:
        """Redo what ended without success; of a batch all such jobs below it. One that waits for later is due now."""
        job = self.jobs[job_id]
        if job.status == "pending" and not job.due:
            job.due = job.forward = True
            return 1
        children = [child for child in self.jobs.values() if child.parent == job_id]
        failed = [child.id for child in children if not child.total and child.status in ("dead", "cancelled")]
        batches = [child.id for child in children if child.total and not (child.status in LIVE and child.cancel)]
        redone = sum(self.retry(child) for child in failed + batches[::-1])
        if redone or job.total or job.status not in ("dead", "cancelled"):
            return redone
        above = (self.jobs[number] for number in self._ancestors(job))
        revived = [job, *(one for one in above if one.status not in LIVE)]
        if any(self.with_unique(one.unique) for one in revived):
            return redone
        self._revive(job, "pending")
        return 1

    def adopt_cancelled(self, batch: Job, rows: dict[int, tuple[Any, ...]]) -> None:
        """A retry of this root batch came as far as it came before a cancel: all below it has ended or was asked to.
        Which of them had come back is taken from the rows.
        """
        family = [job for job in self.jobs.values() if batch.id in (job.id, *self._ancestors(job))]
        for job in family:
            _, _, job.status, job.attempt, job.failures, job.deaths, job.holder, _, job.cancel, *_ = rows[job.id]
            job.lone_deaths = job.lone_deaths if job.deaths else 0
            assert job.status not in LIVE or (job.status != "pending" and job.cancel), f"not cancelled: {job}"
        for job in family:
            if job.total:
                children = (child.status for child in self.jobs.values() if child.parent == job.id)
                job.ended = Counter(status for status in children if status not in LIVE)

    def _revive(self, job: Job, status: str) -> None:
        was = job.status
        job.status, job.due, job.failures, job.deaths, job.lone_deaths, job.cancel = status, True, 0, 0, 0, False
        if job.parent is not None:
            parent = self.jobs[job.parent]
            if parent.status not in LIVE:
                self._revive(parent, "waiting")
            parent.ended[was] -= 1
            parent.cancel = False

    def _ancestors(self, job: Job) -> Iterator[int]:
        while job.parent is not None:
            yield job.parent
            job = self.jobs[job.parent]

    # --- limits

    def set_limit(self, name: str, most: int | None) -> None:
        """One that is taken away is not the config's any more, though it be set again."""
        self.limits[name] = most
        if most is None:
            self.configured[name] = None

    def set_rates(self, rates: dict[str, int]) -> None:
        """What began without a rate does not count under a later one."""
        for name in self.rates.keys() ^ rates.keys():
            self.starts[name] = 0
        self.rates = dict(rates)

    # --- what may be handed out

    def limit_names(self, kind: str) -> list[str]:
        """The limits on a kind, or on what stands before its first dot."""
        return [name for name in dict.fromkeys((kind, kind.split(".")[0])) if self.limits.get(name) is not None]

    def taken(self, name: str) -> int:
        """Running jobs under a limit on kinds or under one key."""
        running = (job for job in self.jobs.values() if job.status == "running")
        return sum(name in (job.kind, job.kind.split(".")[0], *(key for _, key in job.keys)) for job in running)

    def kind_room(self, kind: str) -> int:
        rooms = [(self.limits[name] or 0) - self.taken(name) for name in self.limit_names(kind)]
        if kind in self.rates:
            rooms.append(self.rates[kind] - self.starts[kind])
        return min(rooms, default=MOST_LIVE)

    def key_room(self, job: Job) -> int:
        limits = ((self.limits[name], key) for name, key in job.keys)
        return min((most - self.taken(key) for most, key in limits if most is not None), default=MOST_LIVE)

    def is_served(self, job: Job, worker: int) -> bool:
        """Pending, due, and in a queue that goes on and that this worker serves."""
        server = self.workers[worker]
        served = job.kind in server.kinds and (server.queues is None or job.queue in server.queues)
        rests = job.queue in self.paused or (job.kind, job.queue) in self.resting
        return job.status == "pending" and job.due and served and not rests

    def may_start(self, job: Job, worker: int) -> bool:
        """Whether nothing stands in its way now."""
        return self.is_served(job, worker) and self.kind_room(job.kind) > 0 and self.key_room(job) > 0

    def hand_out(self, job_id: int, attempt: int, worker: int) -> None:
        """A job is claimed: it was free to start, no limit is exceeded, and its attempt was never given out before."""
        job = self.jobs[job_id]
        assert self.is_served(job, worker), f"{job} is not for worker {worker}"
        assert self.kind_room(job.kind) > 0, f"{job}: no room for its kind"
        assert self.key_room(job) > 0, f"{job}: no seat under its keys"
        assert attempt == job.attempt + 1, f"{job} was handed out as attempt {attempt}"
        job.status, job.holder, job.attempt = "running", worker, attempt
        self.starts[job.kind] += 1

    def an_hour_passes(self) -> None:
        self.starts.clear()
        self.resting.clear()
        for job in self.live():
            job.due = True
