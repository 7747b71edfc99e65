"""Says to a real queue what chance decides: workers, producers and users, in any order (broker_watch.py looks on)."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import psycopg
from broker_model import Job, Server
from broker_terms import (
    CANCEL,
    KINDS,
    LATER_SECONDS,
    LIMITS,
    PAUSE,
    RETRY,
    STUCK_SECONDS,
    Said,
    ids,
    mosts,
    outcomes,
    specs,
    wants,
)
from broker_watch import WatchedQueue
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from workerctl import QueueFull
from workerctl.broker.exchange import Again, Ended, FollowUp, Parent, Reply, Request, exchange, resume
from workerctl.broker.fleet import (
    KnownKind,
    Registration,
    bring_due,
    database_now,
    register_worker,
    release_others,
    release_worker,
    renew_node,
)
from workerctl.broker.jobs import cancel_jobs, sweep_on
from workerctl.broker.limits import reset_limit, set_limit, tidy_limits
from workerctl.broker.overview import pause_queue
from workerctl.producer import enqueue_many


class QueueMachine(WatchedQueue):
    """Workers, producers and users of one queue."""

    # --- workers

    @initialize(first=specs, second=specs)
    def two_workers_and_some_jobs(self, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
        self.a_worker_comes(True, False)
        self.a_worker_comes(True, False)
        self.somebody_enqueues(first)
        self.somebody_enqueues(second)

    @precondition(lambda self: len(self.model.workers) < 4)
    @rule(all_kinds=st.booleans(), second_only=st.booleans())
    def a_worker_comes(self, all_kinds: bool, second_only: bool) -> None:
        kinds = tuple(KINDS) if all_kinds else ("plain", "few.big")
        number = next(self.numbers)
        queues = ["second"] if second_only else None
        known = [KnownKind(kind, "default", 3, KINDS[kind]) for kind in kinds]
        me = Registration(f"w{number}", "n", "host", "default", number, 1, queues, [], 600)
        worker = register_worker(self.connection, me, known)
        self.model.workers[worker] = Server(kinds, tuple(queues) if queues else None)
        self.incarnations[worker] = me.incarnation

    @precondition(lambda self: self.model.workers)
    @rule(which=ids, how=st.sampled_from(["died", "left", "not listed", "expired"]))
    def a_worker_goes(self, which: int, how: str) -> None:
        worker = self._worker(which)
        jobs = self.model.release(worker, died=how in ("died", "not listed"))
        match how:
            case "expired":
                self.connection.execute("UPDATE workerctl.worker SET lease_until = '-infinity' WHERE id = %s", [worker])
                self._judge_leases()
            case "not listed":
                alive = [self.incarnations[other] for other in self.model.workers]
                assert release_others(self.connection, "n", alive, database_now(self.connection)) == jobs
            case _:
                assert release_worker(self.connection, self.incarnations[worker], died=how == "died") == jobs
        assert exchange(self.connection, worker, Request(want=4)).gone

    @precondition(lambda self: self.model.workers)
    @rule(which=ids)
    def a_worker_connects_again(self, which: int) -> None:
        worker = self._worker(which)
        resumed = resume(self.connection, worker, self.incarnations[worker])
        assert resumed.claims == {(job.id, job.attempt) for job in self.model.in_hand(worker)}
        assert resumed.session is not None
        self.sessions[worker] = resumed.session
        late = [Ended(job.id, job.attempt, "dead") for job in self.model.in_hand(worker)]
        assert exchange(self.connection, worker, Request(want=9, session=resumed.session - 1, ended=late)).gone

    @precondition(lambda self: self.model.workers)
    @rule(which=ids, want=wants, results=outcomes)
    def a_worker_speaks(self, which: int, want: int, results: list[Any]) -> None:
        worker = self._worker(which)
        said = self._request(worker, want, results)
        reply = exchange(self.connection, worker, said.request)
        self._heard(said, reply)
        self._look()
        self._claimed(worker, said.request, reply)

    @precondition(lambda self: self.model.workers)
    @rule(wanted=specs, which=ids, want=wants, results=outcomes)
    def somebody_enqueues_and_a_worker_speaks(
        self, wanted: list[dict[str, Any]], which: int, want: int, results: list[Any]
    ) -> None:
        self.somebody_enqueues(wanted)
        self.a_worker_speaks(which, want, results)

    @precondition(lambda self: self.model.workers)
    @rule(turns=st.lists(st.tuples(ids, wants, outcomes), min_size=2, max_size=4))
    def workers_go_on(self, turns: list[Any]) -> None:
        for which, want, results in turns:
            self.a_worker_speaks(which, want, results)

    @precondition(lambda self: len(self.model.workers) > 1)
    @rule(which=ids, want=st.integers(1, 4), results=outcomes, others_results=outcomes)
    def a_worker_speaks_while_another_has_not_committed(
        self, which: int, want: int, results: list[Any], others_results: list[Any]
    ) -> None:
        first, second = self._worker(which), self._worker(which + 1)
        said = self._request(first, want, results, ("unique_key",))  # whose would it be?
        others = self._request(second, want, others_results, ("unique_key",))
        replies: list[Reply] = []
        thread = threading.Thread(target=lambda: replies.append(exchange(self.other, second, others.request)))
        with self.connection.transaction():
            reply = exchange(self.connection, first, said.request)
            thread.start()
            thread.join(STUCK_SECONDS)  # behind a row or a key: then it goes on with the commit
        thread.join()
        self._heard(said, reply)
        self._heard(others, replies[0])
        self._look()
        for worker, claimed in ((first, reply.claimed), (second, replies[0].claimed)):
            for job in claimed or []:
                self.model.hand_out(job.id, job.attempt, worker)
                self.handed.append((job.id, job.attempt))

    @precondition(lambda self: self.handed and self.model.workers)
    @rule(which=ids, claim=ids, again=st.booleans())
    def somebody_settles_an_old_claim(self, which: int, claim: int, again: bool) -> None:
        """A late result, or one of a claim that is another's: touches nothing."""
        worker, (job, attempt) = self._worker(which), self.handed[-1 - claim % len(self.handed)]
        if self.model.owns(worker, job, attempt):
            return
        follow = FollowUp(job, {"kind": "plain", "payload": {"tag": -1}})
        late = {"again": [Again(job, attempt, failed=True)]} if again else {"ended": [Ended(job, attempt, "succeeded")]}
        reply = exchange(self.connection, worker, Request(follow_ups=[follow], **late))
        assert reply.lost == [job]

    # --- producers and users

    @rule(wanted=specs)
    def somebody_enqueues(self, wanted: list[dict[str, Any]]) -> None:
        jobs = [self._spec(spec) for spec in wanted]
        if self._is_refused(jobs):
            try:
                enqueue_many(jobs, conn=self.connection)
            except QueueFull:
                return
            raise AssertionError(f"{jobs} are past admission")
        known = {key: job.id for key in ("k1", "k2") if (job := self.model.with_unique(key))}
        found = enqueue_many(jobs, conn=self.connection)
        assert self.model.enqueue(jobs) == len(set(found) - set(self.model.jobs))
        for job, job_id in zip(jobs, found, strict=True):
            assert known.get(job.get("unique_key"), job_id) == job_id
        self._look()
        for job, job_id in zip(jobs, found, strict=True):
            assert job.get("unique_key") or self.seen[job_id].tag == job["payload"]["tag"], "ids in the order given"
            first = next(number for number, other in zip(found, jobs, strict=True) if other.get("unique_key") ==
                         job.get("unique_key"))  # fmt: skip
            assert job.get("unique_key") is None or job_id == first, "of one unique key the first"

    @precondition(lambda self: self.model.jobs)
    @rule(which=ids, most=mosts)
    def somebody_cancels(self, which: int, most: int | None) -> None:
        self._cancel(self._job(which), most)

    @precondition(lambda self: self.model.jobs)
    @rule(which=ids, most=mosts)
    def somebody_retries(self, which: int, most: int | None) -> None:
        job = self._job(which)
        assert self._in_steps(RETRY, job.id, most) == self.model.retry(job.id)

    @precondition(lambda self: any(job.total for job in self.model.jobs.values()))
    @rule(which=ids, most=mosts, again=st.booleans())
    def somebody_cancels_a_batch_and_retries_it(self, which: int, most: int | None, again: bool) -> None:
        """And perhaps cancels it again before all of it has come back, where no batch above would end a second time."""
        batches = [job for job in self.model.jobs.values() if job.total]
        batch = batches[-1 - which % len(batches)]
        self._cancel(batch, most)
        if not again or batch.parent is not None:
            assert self._in_steps(RETRY, batch.id, most) == self.model.retry(batch.id)
            return
        self.connection.execute(RETRY, [batch.id, 1])
        cancel_jobs(self.connection, [batch.id])
        assert self.connection.execute("SELECT job_id FROM workerctl.sweep").fetchall() == []
        self._look()
        self.model.adopt_cancelled(batch, {job_id: seen.row for job_id, seen in self.seen.items()})

    @rule(name=st.sampled_from(list(LIMITS)), most=st.sampled_from([None, 0, 1, 2, 3, 3]))
    def somebody_changes_a_limit(self, name: str, most: int | None) -> None:
        set_limit(self.connection, name, most)
        self.model.set_limit(name, most)

    @rule(name=st.sampled_from(list(LIMITS)))
    def somebody_resets_a_limit(self, name: str) -> None:
        assert reset_limit(self.connection, name) == (self.model.limits[name] is not None)
        self.model.set_limit(name, self.model.configured[name])

    @rule(most=st.sampled_from([None, 1, 3, 5]))
    def the_config_has_another_rate(self, most: int | None) -> None:
        rates = {} if most is None else {"rated": most}
        self.model.set_rates(rates)
        self.configure()

    @rule(queue=st.sampled_from(["default", "second"]), paused=st.booleans())
    def somebody_pauses_a_queue(self, queue: str, paused: bool) -> None:
        pause_queue(self.connection, queue, paused=paused)
        (self.model.paused.add if paused else self.model.paused.discard)(queue)
        self.model.resting = {(kind, other) for kind, other in self.model.resting if other != queue}

    @rule(kind=st.sampled_from(["plain", "few.big", "bulk"]))
    def a_provider_is_left_alone(self, kind: str) -> None:
        psycopg.ClientCursor(self.connection).execute(PAUSE, {"kind": kind})
        self.model.resting |= {(kind, "default"), (kind, "second")}

    @rule()
    def an_hour_passes(self) -> None:
        self.connection.execute(
            "UPDATE workerctl.live SET run_at = run_at - interval '1 hour', rank = rank - 256 * 3600000"
            " WHERE status = 'pending' AND run_at > now()"
        )
        self.connection.execute("UPDATE workerctl.start SET at = at - interval '1 hour'")
        self.connection.execute("UPDATE workerctl.provider SET paused_until = now()")
        tidy_limits(self.connection)
        bring_due(self.connection)
        self.model.an_hour_passes()

    def teardown(self) -> None:
        """Nothing is lost: with time, free limits and a worker that knows every kind, all that is left ends."""
        if self._rows() != {job.id: job.row for job in self.model.jobs.values()}:
            return  # a step has failed already: what came of it says nothing
        for queue in list(self.model.paused):
            self.somebody_pauses_a_queue(queue, False)
        for worker in list(self.model.workers):
            release_worker(self.connection, self.incarnations[worker], died=False)
            self.model.release(worker, died=False)
        for name in LIMITS:
            self.somebody_changes_a_limit(name, 2)
        self._look()
        self.a_worker_comes(True, False)
        (worker,) = self.model.workers
        for _ in range(3 * len(self.model.jobs) + 10):
            if not any(self.model.live()):
                break
            hand = self.model.in_hand(worker)
            if not hand:
                self.an_hour_passes()
            said = self._request(worker, 3, [])
            for job in hand:
                self._end(said, worker, job, "succeeded")
            reply = exchange(self.connection, worker, said.request)
            self._heard(said, reply)
            self._look()
            self._claimed(worker, said.request, reply)
        self.every_row_is_as_the_model_has_it()
        left = list(self.model.live())
        assert not left, f"never handed out: {left}"

    # --- details

    def _worker(self, which: int) -> int:
        return sorted(self.model.workers)[which % len(self.model.workers)]

    def _job(self, which: int) -> Job:
        return self.model.jobs[sorted(self.model.jobs)[-1 - which % len(self.model.jobs)]]

    def _cancel(self, job: Job, most: int | None) -> None:
        """In steps those are not counted again that were asked before."""
        count, asked = self._in_steps(CANCEL, job.id, most), self.model.cancel(job.id)
        assert count == asked or (most and 0 < count < asked), f"{count} of {asked} were cancelled"

    def _in_steps(self, statement: bytes, job_id: int, most: int | None) -> int:
        """Cancel or retry so many at a time, as whole families are where they are large."""
        row = self.connection.execute(statement, [job_id, most]).fetchone()
        assert row is not None
        count, more = row[0], True
        while more:
            jobs, more = sweep_on(self.connection, [job_id], most)
            count += jobs
        return count

    def _judge_leases(self) -> None:
        self.connection.execute(
            "INSERT INTO workerctl.node (id, host, version, cores, lease_until, steady_since)"
            " VALUES ('n', 'h', 'v', 1, 'infinity', '-infinity') ON CONFLICT (id) DO UPDATE"
            " SET lease_until = 'infinity', steady_since = '-infinity'"
        )
        renew_node(self.connection, node_id="n", host="h", version="v", cores=1, lease_seconds=0.001)

    def _spec(self, spec: dict[str, Any]) -> dict[str, Any]:
        """As producers say it; `model` is in the payload, `later` is a run_at."""
        rest = {name: value for name, value in spec.items() if name not in ("model", "later")}
        payload = {"tag": next(self.tags)} | {name: spec[name] for name in ("model", "later") if name in spec}
        run_at = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=LATER_SECONDS)).isoformat()
        return rest | {"payload": payload} | ({"run_at": run_at} if "later" in spec else {})

    def _is_refused(self, jobs: list[dict[str, Any]]) -> bool:
        free = [job for job in jobs if job.get("plan") == "free"
                and self.model.with_unique(job.get("unique_key")) is None]  # fmt: skip
        more = len({job.get("unique_key", index) for index, job in enumerate(free)})
        return bool(free) and self.model.is_full("free", more)

    def _request(self, worker: int, want: int, results: list[Any], forbidden: tuple[str, ...] = ()) -> Said:
        """A request that settles some of what the worker has in hand; its children have none of what is forbidden."""
        hand = self.model.in_hand(worker)
        said = Said(Request(want=want, session=self.sessions.get(worker), renew_seconds=600.0))
        for which, word, children, follow, continues in results:
            if not hand:
                break
            job = hand.pop(which % len(hand))
            self._end(said, worker, job, word, children, follow=follow, continues=continues, forbidden=forbidden)
        said.request.in_hand = len(hand)
        return said

    def _end(
        self, said: Said, worker: int, job: Job, word: str, children: Any = (), *, follow: bool = False,
        continues: bool = False, forbidden: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        request, model = said.request, self.model
        assert model.owns(worker, job.id, job.attempt)
        match word:
            case "children":
                specs = [self._spec({name: spec[name] for name in spec if name not in forbidden}) for spec in children
                         if spec.get("unique_key") not in model.keys_above(job)]  # fmt: skip
                on_done = self._spec({"kind": "plain"}) if continues else None
                request.parents = [*request.parents, Parent(job.id, job.attempt, specs, None, on_done)]
                said.effects.append((3, lambda: model.fan_out(job, specs, on_done)))
            case "failed" | "back" | "snooze":
                delay = LATER_SECONDS if word == "snooze" else 0.0
                request.again = [*request.again, Again(job.id, job.attempt, word == "failed", delay)]
                said.effects.append((2, lambda: model.put_back(job, failed=word == "failed", due=word != "snooze")))
            case _:
                request.ended = [*request.ended, Ended(job.id, job.attempt, word)]
                said.effects.append((1, lambda: model.end(job, word, failed=word == "dead")))
        if follow:
            spec = self._spec({"kind": "plain"})
            request.follow_ups = [*request.follow_ups, FollowUp(job.id, spec)]
            said.effects.append((4, lambda: model.expect(spec)))
