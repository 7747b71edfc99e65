"""What the queue refuses, or takes too long over, spoils nothing else: a worker's seats against a real database."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from workerctl import Context, job
from workerctl.broker import connection as connections
from workerctl.broker.connection import connect
from workerctl.broker.found import Database
from workerctl.broker.jobs import show_job
from workerctl.broker.migrate import migrate
from workerctl.broker.surroundings import Surroundings
from workerctl.producer import enqueue, enqueue_many
from workerctl.settings import load
from workerctl.worker import apart
from workerctl.worker.identity import Identity
from workerctl.worker.seats import Seats

Queue = psycopg.Connection[Any]
Until = Callable[[Callable[[], Any]], Any]

REFUSE = """
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the auditor says no to %', NEW.id;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON workerctl.history FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION public.refuse();
"""


@job("apart.echo", max_attempts=1)
async def echo(payload: dict[str, Any], ctx: Context) -> Any:
    for number in range(payload.get("lines", 0)):
        ctx.log("a line", number=number)
    if "next" in payload:
        ctx.enqueue("apart.echo", payload["next"])
    return payload.get("result")


@pytest.fixture
def queue(database_url: str) -> Iterator[Queue]:
    with connect(database_url, application="test") as connection:
        migrate(connection)
        yield connection


@pytest.fixture
def seats(queue: Queue, database_url: str, tmp_path: Path) -> Iterator[Seats]:
    settings = load(None, None, {}, tmp_path).settings
    settings = msgspec.structs.replace(settings, jobs=msgspec.structs.replace(settings.jobs, poll_interval_seconds=0.1))
    made = Seats(
        Identity(1, "n.1", "default", 1, None),
        Surroundings(settings, tmp_path, "n", "host", Database(database_url, database_url)),
    )
    yield made
    made.leave()
    made.runner.close()


@pytest.fixture
def until(seats: Seats) -> Until:
    """Lets the worker take its turns, as its process does, until something holds."""

    def turn_until(condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20
        while not (found := condition()):
            assert time.monotonic() < deadline, "not in time"
            seats.turn(now := time.monotonic())
            if select.select([seats.runner], [], [], max(0.0, min(0.02, seats.due_at(now) - now)))[0]:
                seats.runner.heard()
        return found

    return turn_until


def ended(queue: Queue, jobs: list[int]) -> Callable[[], bool]:
    def all_ended() -> bool:
        row = queue.execute("SELECT count(*) FROM workerctl.history WHERE id = ANY (%s)", [jobs]).fetchone()
        return row == (len(jobs),)

    return all_ended


def statuses(queue: Queue, jobs: list[int]) -> list[str]:
    return [show_job(queue, each)["status"] for each in jobs]


def test_a_result_that_no_index_can_hold_ends_its_job_and_no_other(
    queue: Queue, until: Until, capfd: pytest.CaptureFixture[str]
) -> None:
    queue.execute("CREATE INDEX ON workerctl.history ((result #>> '{}'))")
    row = queue.execute("SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300) n").fetchone()
    assert row is not None
    jobs = enqueue_many(
        [("apart.echo", {"result": row[0] if number == 3 else number}) for number in range(6)], conn=queue
    )
    until(ended(queue, jobs))
    assert statuses(queue, jobs) == [*["succeeded"] * 3, "dead", *["succeeded"] * 2]
    assert "could not be settled: index row requires" in show_job(queue, jobs[3])["error"]
    assert capfd.readouterr().err.count("cannot be settled") == 1


@pytest.mark.parametrize("leaves", [False, True])
def test_a_flood_of_log_lines_is_written_whole(queue: Queue, seats: Seats, until: Until, leaves: bool) -> None:
    job_id = enqueue("apart.echo", {"lines": 2500}, conn=queue)
    lines = "SELECT count(*) FROM workerctl.live WHERE payload ->> 'job_id' = %s"
    until(lambda: seats.claimed_kinds["apart.echo"])
    seats.closed = True  # other tests may have registered the kind that writes them
    if leaves:
        until(lambda: seats.hand.has_logs)
        assert seats.leave()
        assert queue.execute(lines, [str(job_id)]).fetchone() == (2500,)
    else:
        until(lambda: queue.execute(lines, [str(job_id)]).fetchone() == (2500,))
        until(ended(queue, [job_id]))


def test_an_error_that_is_raised_for_one_job_is_that_jobs_alone_with_all_that_would_follow(
    queue: Queue, until: Until
) -> None:
    queue.execute(REFUSE.format(when="NEW.status = 'succeeded' AND NEW.payload ? 'odd'"))
    follow_up = {"next": {"made": True}}
    jobs = enqueue_many([("apart.echo", follow_up), ("apart.echo", {"odd": 1} | follow_up)], conn=queue)
    until(ended(queue, jobs))
    assert statuses(queue, jobs) == ["succeeded", "dead"]
    assert "the auditor says no" in show_job(queue, jobs[1])["error"]
    until(lambda: queue.execute("SELECT count(*) FROM workerctl.live").fetchone() == (0,))
    made = queue.execute("SELECT count(*) FROM workerctl.history WHERE payload ? 'made'").fetchone()
    assert made == (1,), "what follows from a job comes to be where it succeeded"


def test_a_job_that_can_in_no_way_be_ended_is_kept_aside_while_others_go_on(
    queue: Queue, until: Until, seats: Seats, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(apart, "APART_SECONDS", 0.5)
    queue.execute(REFUSE.format(when="NEW.payload ? 'odd'"))
    odd = enqueue("apart.echo", {"odd": 1}, conn=queue)
    until(lambda: seats.hand.aside)
    others = enqueue_many([("apart.echo", {})] * 20, conn=queue)
    until(ended(queue, others))
    until(lambda: seats.hand.aside[odd, 1] >= 3)
    assert capfd.readouterr().err.count("neither settled nor ended") == 1, "said once"
    queue.execute("DROP TRIGGER refuse ON workerctl.history")
    until(ended(queue, [odd]))
    assert "the auditor says no" in show_job(queue, odd)["error"]
    assert seats.hand.empty
    assert not seats.hand.aside


def test_a_settlement_that_waits_for_somebodys_lock_holds_up_no_other_and_counts_in_the_end(
    queue: Queue, database_url: str, until: Until, seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_SETTINGS", connections._SETTINGS.replace("=4500", "=300"))
    monkeypatch.setattr(apart, "APART_SECONDS", 0.5)
    locked, *others = enqueue_many([("apart.echo", {"result": number}) for number in range(4)], conn=queue)
    with psycopg.connect(database_url) as somebody:
        seats.turn(time.monotonic())  # connects
        seats.turn(time.monotonic())  # claims
        somebody.execute("SELECT FROM workerctl.live WHERE id = %s FOR UPDATE", [locked])
        until(ended(queue, others))
        later = enqueue("apart.echo", conn=queue)
        until(ended(queue, [later]))
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 2)
        assert statuses(queue, [locked]) == ["running"]
    until(ended(queue, [locked]))
    shown = show_job(queue, locked)
    assert (shown["status"], shown["result"], shown["attempt"]) == ("succeeded", 0, 1)


def test_what_is_said_apart_far_away_from_the_queue_takes_many_turns(
    queue: Queue, until: Until, seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a worker with hundreds of settlements would be killed as hung, with all that it has in hand."""
    monkeypatch.setattr(apart, "TURN_SECONDS", 0.0)
    queue.execute(REFUSE.format(when="NEW.payload ? 'odd'"))
    jobs = enqueue_many([*[("apart.echo", {"odd": 1})] * 3, *[("apart.echo", {})] * 3], conn=queue)
    found: set[int] = set()
    until(lambda: found.add(len(seats.hand.aside)) or ended(queue, jobs[3:])())
    assert found == {0, 1, 2, 3}


def test_a_settlement_that_even_alone_takes_too_long_again_and_again_ends_its_job(
    queue: Queue, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STATEMENT_TIMEOUT_MS", 300)
    monkeypatch.setattr(apart, "APART_SECONDS", 0.1)
    queue.execute(REFUSE.format(when="NEW.status = 'succeeded' AND NEW.payload ? 'odd'"))
    queue.execute(
        "CREATE OR REPLACE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_sleep(2); RETURN NEW; END'"
    )
    jobs = enqueue_many([("apart.echo", {"odd": 1}), ("apart.echo", {})], conn=queue)
    until(ended(queue, jobs))
    assert statuses(queue, jobs) == ["dead", "succeeded"]
    assert "was not written in time, 3 times alone" in show_job(queue, jobs[0])["error"]


def test_a_schema_that_is_broken_is_said_once_and_waited_for_with_everything_in_hand(
    queue: Queue, until: Until, seats: Seats, capfd: pytest.CaptureFixture[str]
) -> None:
    job_id = enqueue("apart.echo", conn=queue)
    seats.turn(time.monotonic())
    seats.turn(time.monotonic())
    assert statuses(queue, [job_id]) == ["running"]
    queue.execute("ALTER FUNCTION workerctl.exchange RENAME TO gone")
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 1)
    assert not seats.link.serves
    assert capfd.readouterr().err.count("the queue cannot be used: function workerctl.exchange") == 1
    queue.execute("ALTER FUNCTION workerctl.gone RENAME TO exchange")
    until(ended(queue, [job_id]))
    assert statuses(queue, [job_id]) == ["succeeded"]
    assert seats.link.serves


def test_a_queue_that_hands_out_nothing_still_takes_what_is_done_and_says_once_why(
    queue: Queue, until: Until, seats: Seats, capfd: pytest.CaptureFixture[str]
) -> None:
    done, waiting = enqueue_many([("apart.echo", {})] * 2, conn=queue)
    seats.turn(time.monotonic())
    seats.turn(time.monotonic())
    queue.execute("ALTER FUNCTION workerctl.later RENAME TO gone")
    until(ended(queue, [done]))
    until(lambda: seats.apart.no_claims)
    began = time.monotonic()
    until(lambda: time.monotonic() > began + 1.2)
    assert capfd.readouterr().err.count("the queue hands out no work: function workerctl.later() does not exist") == 1
    queue.execute("ALTER FUNCTION workerctl.gone RENAME TO later")
    until(ended(queue, [waiting]))
    assert statuses(queue, [done, waiting]) == ["succeeded"] * 2
    assert seats.apart.no_claims is None
