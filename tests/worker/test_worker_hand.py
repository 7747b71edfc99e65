"""What a worker has in hand and has not said yet."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import cast

import msgspec

from workerctl.broker.exchange import Again, Claimed, Ended
from workerctl.handler import Context, Handler, Job, Services, Snooze
from workerctl.worker.hand import LOGS_AT_ONCE, LOST, Hand
from workerctl.worker.outcome import Raised, Returned
from workerctl.worker.run import Run

HANDLER = Handler("k", lambda payload: payload, "q", None, None, 1)


def run(job_id: int, attempt: int = 1) -> Run:
    created = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    claimed = Claimed(job_id, "k", "q", attempt, 0, 0, 3, 0, None, None, None, created, msgspec.Raw(b"{}"))
    return Run(HANDLER, [claimed], Context(Job(job_id, "k"), cast(Services, SimpleNamespace())), 300)


def hand(*runs: Run) -> Hand:
    made = Hand(retry_delay_seconds=15, jitter=lambda: 0.0)
    for each in runs:
        made.add(each)
    return made


def test_a_finished_run_is_said_once_and_forgotten_when_confirmed() -> None:
    one = run(1)
    held = hand(one)
    held.finish(one, Returned(None))
    request = held.request(8, None)
    assert request.ended == [Ended(1, 1, "succeeded")]
    assert held.request(8, None).ended == request.ended, "unconfirmed, it is said again"
    held.said(request)
    assert held.empty
    assert held.request(8, None).ended == []


def test_what_finished_while_a_request_was_on_its_way_is_not_forgotten() -> None:
    one, two = run(1), run(2)
    held = hand(one, two)
    held.finish(one, Returned(None))
    request = held.request(8, None)
    held.finish(two, Returned(None))
    held.said(request)
    assert held.request(0, None).ended == [Ended(2, 1, "succeeded")]


def test_follow_ups_are_forgotten_with_the_job_that_they_follow() -> None:
    one, two = run(1), run(2)
    held = hand(one, two)
    for each in (one, two):
        each.context.enqueue("k", {"after": each.first.id})
    held.finish(one, Returned(None))
    request = held.request(0, None)
    held.finish(two, Returned(None))
    assert [item.id for item in request.follow_ups] == [1]
    held.said(request)
    assert [item.id for item in held.request(0, None).follow_ups] == [2]


def test_a_second_outcome_of_a_run_is_ignored() -> None:
    one = run(1)
    held = hand(one)
    held.finish(one, Raised(TimeoutError("late")))
    held.finish(one, Returned(None))
    assert held.request(0, None).ended == []


def test_a_claim_that_was_never_heard_of_is_put_back_after_a_reconnect() -> None:
    held = hand(run(1))
    assert held.reconcile({(1, 1), (2, 5)}) == []
    assert held.request(0, None).again == [Again(2, 5, keeps_place=True)]


def test_runs_that_never_began_go_back_to_their_place_in_line() -> None:
    one, two = run(1), run(2)
    held = hand(one, two)
    held.put_back_runs([two])
    assert list(held.active) == [one]
    request = held.request(0, None)
    assert request.again == [Again(2, 1, keeps_place=True)]
    assert held.finished == [], "no attempt of it ended"
    held.said(request)
    assert not held.knows(two.first)


def test_a_lost_run_that_never_began_is_not_put_back() -> None:
    one = run(1)
    held = hand(one)
    assert held.reconcile(set()) == [one]
    held.put_back_runs([one])
    assert held.empty


def test_a_claim_that_was_lost_stops_its_run_and_writes_nothing() -> None:
    one, two = run(1), run(2)
    held = hand(one, two)
    held.finish(two, Returned(None))
    assert held.reconcile(set()) == [one]
    assert held.request(0, None).ended == []
    held.finish(one, Raised(LOST))
    assert held.empty
    assert (held.jobs_done, held.jobs_failed) == (1, 0)


def test_progress_is_said_once_per_change() -> None:
    one = run(1)
    held = hand(one)
    one.context.progress(1, 3)
    request = held.request(0, 30.0)
    assert [(item.done, item.total) for item in request.progress] == [(1, 3)]
    held.said(request)
    assert held.request(0, 30.0).progress == []
    one.context.progress(2, 3)
    assert [item.done for item in held.request(0, 30.0).progress] == [2]


def test_log_lines_of_a_failed_attempt_are_kept() -> None:
    one = run(1)
    held = hand(one)
    one.context.log("step one", size=3)
    held.finish(one, Raised(ValueError("boom")))
    request = held.request(0, None)
    assert [entry["payload"]["message"] for entry in request.logs] == ["step one"]  # type: ignore[index]
    held.said(request)
    assert held.request(0, None).logs == []


def test_what_a_lost_claim_would_have_enqueued_does_not_follow_the_next_attempt() -> None:
    one, again = run(1), run(1, attempt=2)
    held = hand(one)
    one.context.enqueue("k", {})
    held.finish(one, Returned(None))
    held.reconcile(set())
    held.add(again)
    held.finish(again, Returned(None))
    request = held.request(0, None)
    assert (request.ended, request.follow_ups) == ([Ended(1, 2)], [])


def test_a_flood_of_log_lines_is_said_in_pieces_that_the_queue_can_write_in_time() -> None:
    one = run(1)
    held = hand(one)
    for number in range(LOGS_AT_ONCE + 1):
        one.context.log("line", number=number)
    held.finish(one, Returned(None))
    said = []
    while held.has_logs:
        request = held.request(0, None)
        said.append([entry["payload"]["fields"]["number"] for entry in request.logs])  # type: ignore[index]
        held.said(request)
    assert said == [list(range(LOGS_AT_ONCE)), [LOGS_AT_ONCE]]
    assert held.empty


def test_what_cannot_be_settled_is_found_by_saying_one_at_a_time() -> None:
    one, two = run(1), run(2)
    held = hand(one, two)
    held.finish(one, Returned("fine"))
    held.finish(two, Returned("odd"))
    parts = held.pieces(held.request(4, 30.0))
    assert [(claim, len(part.ended), part.want) for claim, part in parts] == [((1, 1), 1, 0), ((2, 1), 1, 0)]
    held.refuse((2, 1), "unstorable")
    assert held.request(0, None).ended[1] == Ended(2, 1, "dead", error="could not be settled: unstorable")


def test_the_end_of_a_lost_run_does_not_swallow_the_put_back_of_the_same_jobs_next_claim() -> None:
    for outcome in (Returned(None), Raised(LOST)):
        one = run(1, attempt=1)
        held = hand(one)
        assert held.reconcile(set()) == [one]
        assert held.knows(run(1, attempt=2).first)
        held.put_back(1, attempt=2, delay_seconds=5)
        held.finish(one, outcome)
        assert Again(1, 2, delay_seconds=5) in held.request(0, None).again, outcome


def test_a_claim_in_the_lost_answer_that_settled_its_earlier_attempt_is_put_back() -> None:
    one = run(1, attempt=1)
    held = hand(one)
    held.finish(one, Raised(Snooze(0)))
    assert held.reconcile({(1, 2)}) == []
    assert held.request(0, None).again == [Again(1, 2, keeps_place=True)]
    held.said(held.request(0, None))
    assert held.empty


def test_a_confirmed_put_back_leaves_the_earlier_attempts_run_known() -> None:
    one = run(1, attempt=1)
    held = hand(one)
    held.put_back(1, attempt=2)
    held.said(held.request(0, None))
    assert held.knows(run(1, attempt=3).first)


def test_what_a_lost_run_enqueued_does_not_come_to_be_with_the_put_back_of_its_jobs_next_claim() -> None:
    one = run(1, attempt=1)
    held = hand(one)
    one.context.enqueue("next")
    held.reconcile(set())
    held.put_back(1, attempt=2)
    held.finish(one, Returned(None))
    request = held.request(0, None)
    assert (request.again, request.ended, request.follow_ups) == ([Again(1, 2, keeps_place=True)], [], [])


def test_a_batch_call_is_unwanted_once_all_of_its_jobs_are() -> None:
    call, alone = run(1), run(3)
    call.jobs += run(2).jobs
    held = hand(call, alone)
    assert held.unwanted([1, 3, 9]) == [alone], "the other job of the call goes on"
    assert held.unwanted([2, 1]) == [call]
