"""The primary against a real database that fails at the wrong moment."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any

import msgspec
import psycopg
import pytest

from workerctl.agent.primary import LEASE_SECONDS, Primary
from workerctl.broker.connection import connect
from workerctl.broker.limits import list_limits
from workerctl.settings import JobsSettings, ScheduleSettings, Settings
from workerctl.settings.providers import BudgetSettings

SECONDLY = Settings(schedule={"beat": ScheduleSettings(cron="* * * * * *", kind="beat")})


def ticks(queue: psycopg.Connection[Any]) -> list[dt.datetime]:
    return [at for (at,) in queue.execute("SELECT due_at FROM workerctl.tick ORDER BY due_at").fetchall()]


def began_ten_seconds_ago(queue: psycopg.Connection[Any]) -> None:
    queue.execute("UPDATE workerctl.schedule SET last_due_at = now() - interval '10 seconds'")


def test_a_database_lost_while_the_lease_is_taken_does_not_end_the_agent(queue: Any, database_url: str) -> None:
    primary = Primary(SECONDLY, "n1/1", "n1")
    queue.execute("ALTER TABLE workerctl.schedule RENAME TO away")
    with pytest.raises(psycopg.Error):
        primary.renew(queue)
    queue.execute("ALTER TABLE workerctl.away RENAME TO schedule")
    assert primary.renew(queue), "it became primary only now"
    primary.work(queue, 1.0)


def test_due_times_of_a_pause_longer_than_the_lease_are_made_up_for(queue: Any) -> None:
    primary = Primary(SECONDLY, "n1/1", "n1")
    primary.renew(queue)
    began_ten_seconds_ago(queue)
    primary.term = None
    primary.renew(queue)
    queue.execute("UPDATE workerctl.leadership SET lease_until = now() - interval '1 second'")
    primary.work(queue, 1.0)
    assert ticks(queue) == [], "its lease was over"
    primary.renew(queue)
    primary.work(queue, 2.0)
    assert len(ticks(queue)) >= 10


def test_a_lease_that_could_not_be_renewed_is_not_claimed_beyond_its_end(queue: Any) -> None:
    primary = Primary(SECONDLY, "n1/1", "n1")
    began = time.monotonic()
    assert primary.renew(queue)
    assert not primary.lapse(began + LEASE_SECONDS - 0.5)
    assert primary.lapse(time.monotonic() + LEASE_SECONDS)
    assert primary.term is None
    assert primary.renew(queue), "it is told that it is primary again"


def test_a_tick_whose_answer_was_lost_is_not_made_twice_and_the_next_is_made(queue: Any) -> None:
    primary = Primary(SECONDLY, "n1/1", "n1")
    primary.renew(queue)
    began_ten_seconds_ago(queue)
    other = Primary(SECONDLY, "n1/1", "n1")
    other.renew(queue)
    primary.term = None
    primary.renew(queue)
    other.work(queue, 1.0)
    made = len(ticks(queue))
    assert made >= 10
    for now in (1.0, 2.0):
        primary.work(queue, now)
        primary.renew(queue)
    jobs = queue.execute("SELECT count(*) FROM workerctl.job WHERE kind = 'beat'").fetchone()[0]
    assert jobs == len(ticks(queue)) >= made


def test_a_task_goes_on_after_a_clock_that_was_a_day_ahead_and_makes_nothing_twice(queue: Any) -> None:
    primary = Primary(SECONDLY, "n1/1", "n1")
    primary.renew(queue)
    (clock,) = queue.execute("SELECT date_trunc('second', now()) FROM workerctl.leadership").fetchone()
    second = dt.timedelta(seconds=1)
    made_ahead = {clock + second, clock + 2 * second}
    for due_at in made_ahead:
        queue.execute("INSERT INTO workerctl.tick (name, due_at, job_id, term) VALUES ('beat', %s, 0, 0)", [due_at])
    queue.execute("UPDATE workerctl.schedule SET last_due_at = now() + interval '1 day'")
    primary.term = None
    primary.renew(queue)
    for later in range(5):
        primary._make_due_ticks(queue, clock + later * second)
    assert ticks(queue) == [clock + number * second for number in range(1, 5)]
    assert queue.execute("SELECT count(*) FROM workerctl.job WHERE kind = 'beat'").fetchone() == (2,)
    last = queue.execute("SELECT last_due_at FROM workerctl.schedule WHERE name = 'beat'").fetchone()
    assert last == (clock + 4 * second,)


def test_a_tick_that_is_full_does_not_take_the_agents_connection(queue: Any) -> None:
    crowded = Settings(schedule={"beat": ScheduleSettings(cron="* * * * * *", kind="beat")}, admission={"beat": 0})
    primary = Primary(crowded, "n1/1", "n1")
    primary.renew(queue)
    began_ten_seconds_ago(queue)
    primary.term = None
    primary.renew(queue)
    primary.work(queue, 1.0)
    assert len(ticks(queue)) >= 10


def test_what_the_database_refuses_of_one_duty_is_said_once_and_holds_up_no_other(
    queue: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = ScheduleSettings(cron="* * * * * *", kind="k" * 201)
    primary = Primary(Settings(schedule={"bad": bad} | SECONDLY.schedule), "n1/1", "n1")
    primary.renew(queue)
    began_ten_seconds_ago(queue)
    primary.term = None
    primary.renew(queue)
    queue.execute("ALTER FUNCTION workerctl.tidy_limits RENAME TO gone")
    for now in (10.0, 20.0):
        primary.work(queue, now)
    made = queue.execute("SELECT name, count(*) > 9 FROM workerctl.tick GROUP BY name").fetchall()
    assert made == [("beat", True)]
    done = {name for (name,) in queue.execute("SELECT name FROM workerctl.duty").fetchall()}
    assert {"statistics", "spend", "partitions", "retention"} <= done
    assert "limits" not in done
    said = capfd.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["schedule bad", "limits"]


def test_a_report_that_reads_history_keeps_its_days_but_not_what_retention_removes_row_by_row(
    queue: Any, database_url: str
) -> None:
    queue.execute(
        "CREATE TABLE workerctl.history_20200101 PARTITION OF workerctl.history"
        " FOR VALUES FROM ('2020-01-01') TO ('2020-01-02');"
        " INSERT INTO workerctl.tick (name, due_at, job_id, term) VALUES ('t', '2020-01-01', 1, 1)"
    )
    primary = Primary(Settings(), "n1/1", "n1")
    primary.renew(queue)
    with connect(database_url, application="report") as report, report.transaction():
        report.execute("SELECT count(*) FROM workerctl.history")
        primary.work(queue, 1.0)
        done = {name for (name,) in queue.execute("SELECT name FROM workerctl.duty").fetchall()}
        assert ("partitions" in done, "retention" in done) == (False, True)
        assert queue.execute("SELECT count(*) FROM workerctl.tick").fetchone() == (0,)
    primary.work(queue, 4000.0)
    assert queue.execute("SELECT to_regclass('workerctl.history_20200101')").fetchone() == (None,)


def test_calls_are_kept_for_as_long_as_a_budget_counts_them(queue: Any) -> None:
    budget = BudgetSettings(period_seconds=30 * 86400.0, most_calls=1)
    week = Settings(jobs=JobsSettings(retention_seconds=7 * 86400.0), budgets={"month": budget})
    queue.execute(
        "INSERT INTO workerctl.spend (job_id, attempt, purpose, kind, provider, model, cost, begun_at)"
        " SELECT n, 1, 'p', 'k', 'x', 'm', 1, now() - make_interval(days => n) FROM unnest('{20,40}'::integer[]) AS n"
    )
    primary = Primary(week, "n1/1", "n1")
    primary.renew(queue)
    primary.work(queue, 1.0)
    assert queue.execute("SELECT job_id FROM workerctl.spend").fetchall() == [(20,)]


def test_what_a_failover_lost_of_the_term_is_made_again_though_the_term_goes_on(queue: Any) -> None:
    primary = Primary(msgspec.structs.replace(SECONDLY, limits={"beat": 3}), "n1/1", "n1")
    primary.renew(queue)
    queue.execute(
        "DELETE FROM workerctl.limits; DELETE FROM workerctl.schedule"
    )  # as a standby that was a second behind
    primary.renew(queue)
    assert list_limits(queue) == [], "each renewal asks for nothing but the lease"
    primary.doubt()
    primary.renew(queue)
    assert [row["name"] for row in list_limits(queue)] == ["beat"]
    assert ("beat",) in queue.execute("SELECT name FROM workerctl.schedule").fetchall()
