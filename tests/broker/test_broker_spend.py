"""Budgets over all users: as exact as if every call were looked at, at the cost of a few rows."""

from __future__ import annotations

import json
import random
from typing import Any

import psycopg
import pytest
from broker_beside import Beside, until_waiting

from workerctl.broker.connection import connect, statement

Connection = psycopg.Connection[Any]
FILL = """
INSERT INTO workerctl.spend
       (job_id, attempt, purpose, state, kind, provider, model, user_id, plan, cost, begun_at, ended_at)
SELECT n, 1, 'image', 'paid', 'image.generate', 'pictures', 'm' || n %% 2, 'u' || n %% 1000, 'free', 0.01,
       now() - interval '30 days' * n / %(rows)s, now()
  FROM generate_series(0, %(rows)s - 1) AS n
"""
OVER_BUDGET = "SELECT workerctl.over_budget(%s::jsonb, 'u1', %s::numeric)"
BY_EVERY_ROW = """
SELECT count(*), coalesce(sum(s.cost), 0) FROM workerctl.spend s
 WHERE s.begun_at > now() - make_interval(secs => %(seconds)s)
   AND (%(provider)s::text IS NULL OR s.provider = %(provider)s) AND (%(model)s::text IS NULL OR s.model = %(model)s)
   AND (%(plan)s::text IS NULL OR s.plan = %(plan)s)
"""
BY_SUMS = "SELECT * FROM workerctl.spent(%(seconds)s, %(provider)s, %(model)s, %(plan)s)"
NEW = """
INSERT INTO workerctl.spend (job_id, attempt, purpose, state, kind, provider, model, plan, cost, begun_at, ended_at)
VALUES (%s, 1, 'image', %s, 'image.generate', %s, %s, %s, %s, now() - make_interval(secs => %s),
        CASE WHEN %s THEN now() END)
"""


def sum_up(queue: Connection) -> int:
    row = queue.execute(statement("sum_spend")).fetchone()
    assert row is not None
    return int(row[0])


def make_calls(queue: Connection, chance: random.Random, first_job: int, count: int) -> None:
    for job in range(first_job, first_job + count):
        state = chance.choice(["paid", "paid", "paid", "wasted", "unknown", "in flight"])
        row = (job, state, chance.choice("pq"), chance.choice("mn"), chance.choice(["free", "pro", None]),
               chance.randrange(1, 500) / 100, chance.uniform(0, 4 * 3600), state != "in flight")  # fmt: skip
        queue.execute(NEW, row)


@pytest.mark.parametrize("seed", range(4))
def test_the_sums_say_what_every_row_says_whatever_was_added_up_and_corrected(queue: Connection, seed: int) -> None:
    chance = random.Random(seed)
    for first_job in (1, 101, 201):
        make_calls(queue, chance, first_job, 60)
        sum_up(queue)
        queue.execute(
            "UPDATE workerctl.spend SET state = 'paid', ended_at = now(), cost = cost * 2 WHERE job_id % 7 = 0"
        )
        make_calls(queue, chance, first_job + 60, 10)
        queue.execute("DELETE FROM workerctl.spend WHERE state = 'in flight' AND job_id % 3 = 0")
        for _ in range(20):
            asked = {"seconds": chance.uniform(1, 5 * 3600), "provider": chance.choice(["p", None]),
                     "model": chance.choice(["m", None]), "plan": chance.choice(["free", None])}  # fmt: skip
            with queue.transaction():  # one now()
                assert queue.execute(BY_SUMS, asked).fetchone() == queue.execute(BY_EVERY_ROW, asked).fetchone()


def test_what_is_added_up_is_added_up_once(queue: Connection) -> None:
    queue.execute(FILL, {"rows": 50})
    assert (sum_up(queue), sum_up(queue)) == (50, 0)
    assert queue.execute("SELECT sum(calls), sum(cost)::float FROM workerctl.spend_hour").fetchone() == (50, 0.5)


def test_hours_go_with_their_calls(queue: Connection) -> None:
    queue.execute(FILL, {"rows": 720})
    sum_up(queue)
    queue.execute("SELECT workerctl.forget_spend('10 days')")
    row = queue.execute("SELECT count(*), (SELECT count(*) FROM workerctl.spend) FROM workerctl.spend_hour").fetchone()
    assert row is not None and row[1] == 240
    assert 240 <= row[0] <= 242


def test_a_budget_over_all_users_does_not_look_at_each_of_many_calls(queue: Connection) -> None:
    queue.execute("SET statement_timeout = 0")
    queue.silence_seconds = 60.0  # type: ignore[attr-defined]
    queue.execute(FILL, {"rows": 100_000})
    while sum_up(queue):
        pass
    queue.execute("VACUUM ANALYZE workerctl.spend")
    budgets = [
        {"name": "month", "per_user": False, "provider": "pictures", "most_cost": 1999.5, "period_seconds": 30 * 86400}
    ]
    asked = [json.dumps(budgets), 1000]
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {OVER_BUDGET}"
    queue.execute(explain, asked)  # the catalogue is read
    explained = queue.execute(explain, asked).fetchone()
    assert explained is not None
    plan = explained[0][0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 500, "a look at each takes 1,500 and more"
    row = queue.execute(OVER_BUDGET, asked).fetchone()
    assert row is not None and "are spent" in row[0]


@pytest.mark.parametrize("per_user", [False, True])
def test_two_calls_at_once_do_not_both_find_room_for_one(queue: Connection, database_url: str, per_user: bool) -> None:
    budgets = json.dumps([{"name": "b", "per_user": per_user, "most_calls": 1, "period_seconds": 3600}])
    begin = """
        INSERT INTO workerctl.live (id, rank, lane_id, status, worker_id, attempt, started_at)
        VALUES (%(job)s, 1, 1, 'running', 1, 1, now());
        SELECT workerctl.begin_call(%(job)s, 1, 'p', 'k', 'x', 'm', 'u', NULL, 0, true, %(budgets)s::jsonb)"""

    def call(connection: Connection, job: int) -> Any:
        cursor = psycopg.ClientCursor(connection).execute(begin, {"job": job, "budgets": budgets})
        cursor.nextset()
        [(answer,)] = cursor.fetchall()
        return answer

    with connect(database_url, application="other") as other:
        with queue.transaction():
            assert "id" in call(queue, 1)
            beside = Beside(lambda: call(other, 2))
            with connect(database_url, application="looking") as looking:
                until_waiting(looking, 1)
        assert beside.end() == {"refused": "budget b: all 1 calls are used"}
