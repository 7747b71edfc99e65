"""What the queue refuses at the earliest moment, and limits of a kind for one plan."""

from __future__ import annotations

import datetime as dt
import json
import math
import random
import uuid
from typing import Any, cast

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb

from workerctl.broker.exchange import Ended, FollowUp, Parent, Progress, Request
from workerctl.broker.fleet import KnownKind, Registration
from workerctl.broker.found import Database
from workerctl.broker.jobs import list_jobs, show_job
from workerctl.broker.limits import configure_limits, list_limits
from workerctl.handler import Context, InvalidPayload, Job, Refused, Retry, Services, Snooze, job_spec, job_texts
from workerctl.producer import enqueue, enqueue_many
from workerctl.worker.link import Link, Rejected

Queue = psycopg.Connection[Any]


class Unknown:
    def __repr__(self) -> str:
        return "an unknown"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_payload_with_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InvalidPayload, match="NaN or an infinity"):
        job_spec("a", {"deep": [{"x": None, "y": value}]})
    assert job_spec("a", {"x": None, "words": "null", "y": 1.5})["payload"]["y"] == 1.5


def test_nul_is_refused_before_the_queue_is_asked() -> None:
    with pytest.raises(Refused, match="NUL"):
        job_spec("a", {"x": "a\x00b"})


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        ({"x": [math.nan]}, InvalidPayload),
        ({"x": "a\x00b"}, Refused),
        ({"x": "y" * (1 << 20)}, Refused),
    ],
)
def test_one_bad_payload_among_many_keeps_all_of_them_out(payload: Any, refusal: type[Exception], queue: Queue) -> None:
    good: list[tuple[str, Any]] = [("a", {"x": None, "words": "null and \\u0000"})] * 1500
    with pytest.raises(refusal):
        enqueue_many([*good, ("a", payload)], conn=queue)
    assert queue.execute("SELECT count(*) FROM workerctl.live").fetchone() == (0,)
    assert len(enqueue_many(good, conn=queue)) == len(good)


def nested(depth: int) -> Any:
    return {"x": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    ("payload", "refusal", "words"),
    [
        ({"x": math.nan}, InvalidPayload, "NaN or an infinity"),
        ({"x": "a\x00b"}, Refused, "NUL"),
        ({"x": "\ud800"}, Refused, "half a character"),
        ({"\udcff": 1}, Refused, "half a character"),
        ({"x": "y" * (1 << 20)}, Refused, "over 1 MiB"),
        ({"x": 10**5000}, InvalidPayload, "not JSON"),
        ({"x": object()}, InvalidPayload, "not JSON"),
        (nested(501), Refused, "nested over 500 deep"),
    ],
)
def test_a_bad_job_among_many_is_named_by_its_place_before_any_of_them_is_put_in(
    payload: Any, refusal: type[Exception], words: str
) -> None:
    with pytest.raises(refusal, match=f"^图: .*{words}"):
        job_spec("图", payload)
    good: list[tuple[str, Any]] = [("a", {"x": [n, None, "[{"]}) for n in range(1500)]
    assert [len(json.loads(text)) for text in job_texts(good, 1000)] == [1000, 500]
    with pytest.raises(refusal, match=rf"^jobs\[1317\]: 图: .*{words}"):
        list(job_texts([*good[:1317], ("图", payload), *good], 1000))


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("", {}, "a kind is a text of 1 to 200 characters, not ''"),
        ("k" * 201, {}, "a kind is a text of 1 to 200 characters, not 'kkk"),
        (7, {}, "a kind is a text of 1 to 200 characters, not 7"),
        ("a", {"max_attempts": 0}, "max_attempts 0 is not a whole number between 1 and 1000"),
        ("a", {"priority": True}, "priority True is not a whole number between -100 and 100"),
        ("a", {"run_at": "tomorrow"}, "run_at 'tomorrow' is no datetime; in ten minutes: now"),
        ("a", {"run_at": dt.timedelta(minutes=5)}, "is no datetime; in ten minutes: now"),
        ("a", {"run_at": dt.date(2030, 1, 1)}, "is no datetime; in ten minutes: now"),
        ("a", {"run_at": dt.datetime.min}, "is no datetime"),
        ("a", {"run_at": dt.datetime.max}, r"run_at 9999-12-31 .* is no time of the years 1 to 9999"),
        ("a", {"user_id": 10**200}, "user_id of 201 characters: at most 200"),
        ("a", {"user_id": 10**5000}, "user_id is a text, not int"),
        ("a", {"user_id": math.nan}, "user_id is a text, not float"),
        ("a", {"plan": {"of": "paid"}}, "plan is a text, not dict"),
        ("a", {"unique_key": object()}, "unique_key is a text, not object"),
        ("a", {"queue": ["q"]}, "queue is a text, not list"),
        ("a", {"user_id": "u" * 201}, "user_id of 201 characters: at most 200"),
        ("a", {"unique_key": "u" * 501}, "unique_key of 501 characters: at most 500"),
    ],
)
def test_names_that_the_tables_do_not_take_are_refused_in_plain_words(
    kind: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused, match=words):
        job_spec(kind, {}, **options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("NULL", "kind is a text of 1 to 200 characters"),
        ("''", "kind is a text of 1 to 200 characters"),
        ("'a', queue => ''", "queue is a text of 1 to 200 characters"),
        ("'a', priority => -101", "priority -101 is not between -100 and 100"),
        ("'a', max_attempts => -1", "max_attempts -1 is not between 1 and 1000"),
        ("'a', run_at => 'infinity'", "run_at infinity is no time"),
        ("'a', run_at => '294276-01-01'", "run_at 294276-01-01 .* is no time of the years 1 to 9999"),
        ("'a', run_at => '4713-01-01 BC'", "run_at 4713-01-01 .* BC is no time"),
        ("'a', unique_key => repeat('k', 501)", "unique_key of 501 characters: at most 500 are allowed"),
        ("'a', user_id => repeat('u', 201)", "user_id of 201 characters: at most 200 are allowed"),
        ("'a', plan => repeat('p', 201)", "plan of 201 characters: at most 200 are allowed"),
    ],
)
def test_sql_is_told_in_plain_words_what_a_job_cannot_be(queue: Queue, arguments: str, words: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=f"^enqueue: {words}"):
        queue.execute(f"SELECT workerctl.enqueue({arguments})")
    assert queue.execute("SELECT count(*) FROM workerctl.live").fetchone() == (0,)


def test_a_whole_number_and_a_uuid_are_the_texts_that_they_are_written_as() -> None:
    number, text = 42, "069aee98-e2fd-40e3-af7e-40c2310e1f00"
    spec = job_spec("a", user_id=number, unique_key=uuid.UUID(text), plan="", queue=None)
    assert {name: spec[name] for name in spec if name not in ("kind", "payload")} == {
        "user_id": "42",
        "unique_key": text,
        "plan": "",
    }


def test_a_job_of_the_last_or_first_day_hides_no_other_from_those_who_look_in_another_zone(queue: Queue) -> None:
    for run_at in ("9999-12-30 00:00+00", "0001-01-03 00:00+00"):
        enqueue("a", run_at=dt.datetime.fromisoformat(run_at), conn=queue)
        queue.execute("SELECT workerctl.enqueue('a', run_at => %s)", [run_at])
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        queue.execute("SELECT set_config('timezone', %s, false)", [zone])
        assert len(list_jobs(queue)) == 4


@pytest.mark.parametrize("seconds", [1e18, math.inf, math.nan])
def test_a_time_to_come_back_that_the_queue_does_not_have_is_an_error_where_it_is_said(seconds: float) -> None:
    with pytest.raises(ValueError, match="Snooze"):
        Snooze(seconds)
    with pytest.raises(ValueError, match="Retry"):
        Retry("busy", after_seconds=seconds)


@pytest.mark.parametrize("innermost", [1, {}, []])
@pytest.mark.parametrize("in_a_row", [True, False], ids=["seen here", "seen by the queue"])
def test_the_queue_counts_nesting_as_its_clients_do(
    queue: Queue, new_worker: Any, innermost: Any, in_a_row: bool
) -> None:
    def of(levels: int) -> Any:
        payload = innermost
        for level in range(levels - (innermost != 1)):
            payload = {"x": payload} if in_a_row or level % 20 else [payload, "its ends do not stand in a row"]
        return payload

    insert = "SELECT workerctl.enqueue('a', %s::jsonb)"
    deepest, deeper = of(500), of(501)
    in_sql = queue.execute(insert, [Jsonb(deepest)]).fetchone()
    put_in = [in_sql, (enqueue("a", deepest, conn=queue),)]
    assert [(job_id,) for job_id, _ in new_worker().claims(2)] == put_in
    with pytest.raises(Refused, match=r"payload is nested over 500 deep$"):
        enqueue_many([("a", {}), ("a", deeper)], conn=queue)
    with pytest.raises(psycopg.errors.CheckViolation, match="payload_at_most_500_deep"):
        queue.execute(insert, [Jsonb(deeper)])


def test_a_payload_that_holds_itself_is_refused(queue: Queue) -> None:
    with pytest.raises(InvalidPayload, match="recursion"):
        enqueue("a", {"y": cyclic()}, conn=queue)


def cyclic() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


def test_keys_of_four_byte_characters_that_no_index_could_hold_limit_as_others_do(
    queue: Queue, new_worker: Any
) -> None:
    name = "all:{user_id}:{plan}:{model}:{payload.x}"
    configure_limits(queue, {name: 1}, {}, {})
    rng = random.Random(7)
    texts = ["".join(chr(rng.randrange(0x20000, 0x2A000)) for _ in range(200)) for _ in range(4)]
    spec = {"kind": "a", "user_id": texts[0], "plan": texts[1], "payload": {"model": texts[2], "x": texts[3]}}
    other = spec | {"payload": {"model": texts[2], "x": texts[3][1:]}}
    same = [*enqueue_many([spec, spec | {"unique_key": (texts[0] + texts[1] + texts[2])[:500]}], conn=queue)]
    others = enqueue_many([other] * 2, conn=queue)
    worker = new_worker()
    claimed = {job_id for job_id, _ in worker.claims(8)}
    assert claimed == {same[0], others[0]}, "one of each key"
    assert not worker.says(ended=[Ended(same[0], 1, "succeeded")]).lost
    assert [job_id for job_id, _ in worker.claims(8)] == [same[1]]


def test_a_time_without_a_zone_is_this_machines(queue: Queue) -> None:
    local = dt.datetime(2030, 1, 1, 8)
    queue.execute("SET timezone = 'Pacific/Kiritimati'")
    assert show_job(queue, enqueue("a", run_at=local, conn=queue))["run_at"] == local.astimezone()


def test_what_cannot_be_stored_is_told_from_a_database_that_is_away(queue: Queue, database_url: str) -> None:
    me = Registration("n1.9", "n1", "host", "default", 9, 1, None, [], 30)
    link = Link(Database(database_url, database_url), me, [KnownKind("a", "default", 3, 1)], float)
    assert link.try_connect(0.0) == set()
    job = enqueue("a", conn=queue)
    reply = link.exchange(Request(want=1), 0.0)
    assert reply is not None
    assert reply.claimed
    never = FollowUp(job, {"kind": "a", "payload": {}, "run_at": "infinity"})
    with pytest.raises(Rejected, match="infinity"):
        link.exchange(Request(ended=[Ended(job, 1, "succeeded")], follow_ups=[never]), 0.0)
    assert link.up, "the connection is as good as before"
    queue.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'workerctl worker'"
    )
    assert link.exchange(Request(ended=[Ended(job, 1, "succeeded")]), 0.0) is None
    assert not link.up, "it is said again when the database is back"


def test_a_log_entry_is_stored_whatever_is_in_it() -> None:
    ctx = Context(Job(1, "a"), cast(Services, None))
    ctx.log("NUL \x00 and half \udcff", what=Unknown(), name="a\x00b", half="\udcff", n=[1, {"x": 2}])
    [entry] = ctx.logged
    assert entry["message"] == "NUL \ufffd and half ?"
    assert entry["fields"] == {"what": "an unknown", "name": "'a\\x00b'", "half": "'\\udcff'", "n": [1, {"x": 2}]}
    assert b"\\u0000" not in msgspec.json.encode(entry)


def test_a_log_entry_that_is_too_long_is_an_error_where_it_is_said() -> None:
    ctx = Context(Job(1, "a"), cast(Services, None))
    with pytest.raises(ValueError, match="over 1 MiB"):
        ctx.log("x" * (1 << 20))
    assert ctx.logged == []


def test_a_continuation_that_is_no_object_is_refused() -> None:
    ctx = Context(Job(1, "a"), cast(Services, None))
    with pytest.raises(InvalidPayload, match="a continuation's payload is an object"):
        ctx.on_done("b", [1])


@pytest.mark.parametrize(("done", "total"), [(1.5, 3), ("1", 3), (1, None)])
def test_a_progress_is_two_whole_numbers(done: Any, total: Any) -> None:
    ctx = Context(Job(1, "a"), cast(Services, None))
    with pytest.raises(ValueError, match="expected two whole numbers"):
        ctx.progress(done, total)
    assert ctx.progress_now is None


def test_a_progress_that_is_no_fraction_is_an_error_where_it_is_said_and_never_written(
    queue: Queue, new_worker: Any
) -> None:
    ctx = Context(Job(1, "a"), cast(Services, None))
    with pytest.raises(ValueError, match=r"progress\(7, 3\)"):
        ctx.progress(7, 3)
    job = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(progress=[Progress(job, 1, 2, 3)])
    worker.says(progress=[Progress(job, 1, 7, 3)])
    assert show_job(queue, job)["progress"] == {"done": 2, "total": 3}


@pytest.mark.parametrize("key", ["top", "middle"])
def test_a_child_that_one_who_waits_for_it_should_be_is_a_cycle_of_batches(
    queue: Queue, new_worker: Any, key: str
) -> None:
    """A parent is given to a job when it is made: a cycle could only come to be by a unique key."""
    top = enqueue("a", unique_key="top", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(parents=[Parent(top, 1, [{"kind": "b", "payload": {}, "unique_key": "middle"}])])
    [(middle, attempt)] = worker.claims(8)
    again = [{"kind": "a", "payload": {}}, {"kind": "a", "payload": {}, "unique_key": key}]
    culprit = {"top": top, "middle": middle}[key]
    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match=f"cycle of batches: .* unique_key of job {culprit},"
    ):
        worker.says(parents=[Parent(middle, attempt, again)])
    other = enqueue("a", unique_key="other", conn=queue)
    assert not worker.says(parents=[Parent(middle, attempt, [again[0] | {"unique_key": "other"}])]).lost
    assert show_job(queue, middle)["status"] == "succeeded", "it does not wait for a job that is there already"
    assert show_job(queue, other)["parent_id"] is None


def test_a_limit_by_plan_holds_for_all_kinds_before_whose_dot_stand_dashes(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"ds_chat:paid": 1}, {}, {})
    enqueue_many([{"kind": "ds-chat.fast", "plan": "paid"}] * 3, conn=queue)
    assert len(new_worker(("ds-chat.fast",)).claims(8)) == 1


def test_a_limit_holds_for_a_kind_and_a_plan_together(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"ds_chat:paid": 1, "image:free": 2}, {}, {})
    kinds = ("ds.chat", "image.make")
    enqueue_many(
        [{"kind": kind, "plan": plan} for kind in kinds for plan in ("paid", "free") for _ in range(4)], conn=queue
    )
    claimed = new_worker(kinds).says(want=100).claimed
    count = {(kind, plan): 0 for kind in kinds for plan in ("paid", "free")}
    for job in claimed:
        count[job.kind, job.plan] += 1
    assert count == {
        ("ds.chat", "paid"): 1,
        ("ds.chat", "free"): 4,
        ("image.make", "paid"): 4,
        ("image.make", "free"): 2,
    }
    assert {row["name"]: (row["used"], row["most"]) for row in list_limits(queue)} == {
        "ds_chat:paid": (1, 1),
        "image:free": (2, 2),
    }


def test_a_plans_limit_holds_for_all_its_kinds_together(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"plan:paid": 3}, {"plan:free": (2, 600.0)}, {})
    enqueue_many([{"kind": kind, "plan": plan} for plan in ("paid", "free") for kind in "ab" * 3], conn=queue)
    claimed = new_worker().says(want=100).claimed
    assert sorted(job.plan for job in claimed) == ["free"] * 2 + ["paid"] * 3


def test_a_payload_is_as_large_as_its_text_however_small_it_is_stored(queue: Queue) -> None:
    for numbers in range(1, 11):
        (text,) = queue.execute("SELECT '[' || repeat('1e131071,', %s) || '0]'", [numbers - 1]).fetchone() or ("",)
        (octets,) = queue.execute("SELECT octet_length(%s::jsonb::text)", [text]).fetchone() or (0,)
        if octets <= 1024 * 1024:
            queue.execute("SELECT %s::jsonb::workerctl.payload", [text])
        else:
            with pytest.raises(psycopg.errors.CheckViolation):
                queue.execute("SELECT %s::jsonb::workerctl.payload", [text])
    assert octets > 1024 * 1024


def test_a_number_that_python_does_not_read_hides_no_job_from_those_who_look(queue: Queue) -> None:
    queue.execute("SELECT workerctl.enqueue('a', '{\"x\": 1e5000, \"y\": -7}')")
    [job] = list_jobs(queue)
    assert job["payload"] == {"x": "1" + "0" * 5000, "y": -7}
    assert show_job(queue, job["id"])["payload"] == job["payload"]
