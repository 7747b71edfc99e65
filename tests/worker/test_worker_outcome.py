"""What an attempt's outcome means for its job."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from workerctl.broker.exchange import Again, Claimed, Ended, Parent
from workerctl.handler import Cancel, Context, Fail, InvalidPayload, Job, Refused, Retry, Services, Snooze
from workerctl.worker.outcome import (
    HandedBack,
    Outcome,
    Raised,
    Returned,
    Settlement,
    TimedOut,
    backoff_seconds,
    follow_ups,
    per_job,
    settle,
)


def claimed(failures: int = 0, max_attempts: int = 3) -> Claimed:
    created = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return Claimed(7, "k", "q", 2, failures, 0, max_attempts, 0, None, None, None, created, msgspec.Raw(b"{}"))


def context() -> Context:
    return Context(Job(7, "k"), cast(Services, SimpleNamespace()))


def settled(outcome: Outcome, job: Claimed | None = None, ctx: Context | None = None) -> Settlement:
    return settle(job or claimed(), outcome, ctx or context(), retry_delay_seconds=15, jitter=0.0)


def raised(error: BaseException) -> Raised:
    try:
        raise error
    except BaseException as caught:
        return Raised(caught)


def test_a_returned_value_is_the_result() -> None:
    assert settled(Returned({"n": 1})) == Ended(7, 2, "succeeded", msgspec.Raw(b'{"n":1}'))
    assert settled(Returned(None)) == Ended(7, 2, "succeeded")


def test_a_failure_is_tried_again_until_max_attempts() -> None:
    again = settled(raised(ValueError("boom")))
    assert isinstance(again, Again)
    assert (again.failed, again.delay_seconds) == (True, 15)
    assert (again.error or "").startswith("ValueError: boom (test_worker_outcome.py:")
    last = settled(raised(ValueError("boom")), claimed(failures=2))
    assert isinstance(last, Ended)
    assert last.status == "dead"


def test_what_a_handler_may_ask_for() -> None:
    assert settled(raised(Snooze(60, "quota"))) == Again(7, 2, failed=False, delay_seconds=60, error="quota")
    assert settled(raised(Retry("later", after_seconds=5))) == Again(7, 2, failed=True, delay_seconds=5, error="later")
    assert settled(raised(Fail("never"))) == Ended(7, 2, "dead", error="never")
    assert settled(raised(Cancel("unwanted"))) == Ended(7, 2, "cancelled", error="unwanted")


def test_a_hand_back_costs_nothing() -> None:
    assert settled(Raised(HandedBack()), claimed(failures=2)) == Again(7, 2, keeps_place=True)


def test_the_error_of_a_group_says_what_its_first_member_was() -> None:
    group = ExceptionGroup("unhandled errors in a TaskGroup", [ExceptionGroup("inner", [KeyError("size")])])
    again = settled(raised(group))
    assert isinstance(again, Again)
    assert "TaskGroup" in (again.error or "")
    assert (again.error or "").endswith(": ExceptionGroup: inner (1 sub-exception): KeyError: 'size'")


def test_an_error_without_words_is_its_name_and_place() -> None:
    again = settled(raised(KeyboardInterrupt()))
    assert isinstance(again, Again)
    assert (again.error or "").startswith("KeyboardInterrupt (test_worker_outcome.py:")


def test_a_timeout_is_a_failure_in_plain_words() -> None:
    again = settled(raised(TimedOut("timed out after 2 s")))
    assert isinstance(again, Again)
    assert (again.failed, again.error) == (True, "timed out after 2 s")


async def never_awaited() -> None: ...


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "not JSON"),
        (never_awaited(), "`async def`"),
        ({"text": "a\x00b"}, "NUL"),
        ({"n": [1.0, float("nan")]}, "NaN"),
        ("x" * (1024 * 1024 + 1), "over 1 MiB"),
    ],
)
def test_a_result_that_cannot_be_stored_ends_its_job(value: Any, words: str) -> None:
    ended = settled(Returned(value))
    assert isinstance(ended, Ended)
    assert ended.status == "dead"
    assert words in (ended.error or "")


def test_a_backslash_that_looks_like_nul_is_fine() -> None:
    ended = settled(Returned("\\u0000"))
    assert isinstance(ended, Ended)
    assert ended.status == "succeeded"


class Unreadable(Exception):
    def __str__(self) -> str:
        raise LookupError("no words")


class Bare(Snooze):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("kind", [ValueError, Fail, Cancel, Retry, TimedOut, InvalidPayload])
def test_words_that_cannot_be_stored_are_stored_with_what_can_be(kind: type[Exception]) -> None:
    settlement = settled(raised(kind("half \udcff, NUL \x00, whole")))
    stored = msgspec.json.encode(settlement).decode()
    assert "half ?, NUL \ufffd, whole" in stored


@pytest.mark.parametrize("error", [Unreadable(), Bare()])
def test_an_exception_that_raises_when_it_is_read_is_a_failure_of_its_job_alone(error: Exception) -> None:
    again = settled(raised(error))
    assert isinstance(again, Again)
    assert again.failed
    assert f"{type(error).__name__}, which cannot be read" in (again.error or "")


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_what_is_no_time_is_refused_where_it_is_said(seconds: float) -> None:
    for kind in (lambda: Snooze(seconds), lambda: Retry("x", after_seconds=seconds)):
        with pytest.raises(ValueError, match="is no number of seconds"):
            kind()


def test_children_make_a_parent_and_the_rest_follows_it() -> None:
    ctx = context()
    ctx.enqueue("child", {"n": 1}, child=True)
    ctx.enqueue("other")
    ctx.on_done("merge")
    parent = settled(Returned(None), ctx=ctx)
    assert isinstance(parent, Parent)
    assert [spec["kind"] for spec in parent.children] == ["child"]
    assert parent.on_done is not None
    assert parent.on_done["payload"] == {"parent": 7}
    assert [spec["kind"] for spec in follow_ups(parent, ctx)] == ["other"]


def test_a_failed_attempt_has_no_consequences() -> None:
    ctx = context()
    ctx.enqueue("other")
    assert follow_ups(settled(raised(ValueError()), ctx=ctx), ctx) == []


def test_a_continuation_without_children_follows_at_once() -> None:
    ctx = context()
    ctx.on_done("merge")
    assert [spec["kind"] for spec in follow_ups(settled(Returned(None), ctx=ctx), ctx)] == ["merge"]


def test_backoff_doubles_to_one_hour_and_jitter_adds_a_tenth() -> None:
    assert [backoff_seconds(failures, 15, 0.0) for failures in (1, 2, 3, 4)] == [15, 30, 60, 120]
    assert backoff_seconds(100, 15, 0.0) == 3600
    assert backoff_seconds(1, 10, 1.0) == pytest.approx(11)


def test_a_list_is_one_outcome_for_each_job_of_a_batch_call() -> None:
    retry, unfit = Retry("later"), InvalidPayload("no number")
    assert per_job(Returned([1, retry, None]), 4, {1: unfit}) == [
        Returned(1),
        Raised(unfit),
        Raised(retry),
        Returned(None),
    ]


def test_what_is_no_list_is_the_result_of_every_job_of_the_call() -> None:
    assert per_job(Returned({"n": 2}), 2, {}) == [Returned({"n": 2})] * 2
    assert per_job(Returned(None), 2, {}) == [Returned(None)] * 2


def test_what_is_raised_fails_every_job_of_the_call_but_an_unfit_one_keeps_its_own_reason() -> None:
    boom, unfit = Raised(ValueError("boom")), InvalidPayload("no number")
    assert per_job(boom, 3, {0: unfit}) == [Raised(unfit), boom, boom]
    assert per_job(Raised(unfit), 1, {0: unfit}) == [Raised(unfit)]


def test_a_list_of_the_wrong_length_is_said() -> None:
    [first, second] = per_job(Returned([1, 2, 3]), 2, {})
    assert isinstance(first, Raised)
    assert first == second
    assert str(first.error) == "the handler returned 3 outcomes for 2 payloads; it returns one for each"


def test_a_batch_call_makes_no_children() -> None:
    ctx = Context(Job(7, "k"), cast(Services, SimpleNamespace()), jobs=(Job(7, "k"), Job(8, "k")))
    with pytest.raises(Refused, match="no one parent"):
        ctx.enqueue("a", child=True)
    with pytest.raises(Refused, match="no children"):
        ctx.on_done("a")
    ctx.enqueue("a")


def test_a_continuation_inherits_user_plan_and_priority_as_children_do() -> None:
    ctx = Context(Job(7, "k", user_id="u", plan="paid", priority=3), cast(Services, SimpleNamespace()))
    ctx.enqueue("a", child=True)
    ctx.on_done("b", {"x": 1}, priority=9)
    assert ctx.enqueued == [{"kind": "a", "payload": {}, "user_id": "u", "plan": "paid", "priority": 3, "child": True}]
    assert ctx.done_next == {
        "kind": "b",
        "payload": {"x": 1, "parent": 7},
        "user_id": "u",
        "plan": "paid",
        "priority": 9,
    }
