"""Hot statements beside a backlog and a history: the plans that the server really used, those within functions too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from workerctl import QueueFull
from workerctl.broker.connection import statement
from workerctl.broker.depth import queues, stats
from workerctl.broker.exchange import Again, Ended, FollowUp, Parent, Progress, Request, exchange, resume
from workerctl.broker.fleet import (
    KnownKind,
    Registration,
    bring_due,
    database_now,
    make_tick,
    next_start_seconds,
    queues_with_due_jobs,
    register_worker,
    release_worker,
)
from workerctl.broker.jobs import cancel_jobs, job_log, job_memory, list_jobs, retry_jobs, show_job, sweep_on
from workerctl.broker.limits import configure_limits, list_limits, set_limit, tidy_limits
from workerctl.broker.migrate import migrate
from workerctl.broker.overview import nodes, schedules, workers
from workerctl.broker.spend import spend, unresolved_calls
from workerctl.producer import enqueue, enqueue_many

BIG = ("live", "history", "seat", "hold", "start", "tick", "execution_log", "memory", "spend")
KINDS = ("a", "b", "few", "owned")
USERS = 10_000
RUNNING = 400
CHILDREN = 300
READ_AT_MOST = 3_000  # rows by one node of a plan, of whatever size the tables are
USED = """
SET auto_explain.log_level = notice; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off; SET auto_explain.log_format = json
"""
FILL = """
INSERT INTO workerctl.live (lane_id, rank, user_id, plan, run_at, limit_names, limit_keys, payload)
SELECT a.id, workerctl.place_of(t.run_at, 0) + n, u.name, CASE WHEN n %% 10 = 0 THEN 'free' END, t.run_at,
       CASE WHEN a.keyed THEN ARRAY['user:{user_id}'] END, CASE WHEN a.keyed THEN ARRAY['user:' || u.name] END,
       jsonb_build_object('n', n)
  FROM generate_series(1, %(rows)s) AS n
  JOIN workerctl.lane a ON a.kind = (ARRAY['a', 'b', 'few', 'owned'])[n %% 4 + 1] AND a.keyed = (n %% 4 = 3)
 CROSS JOIN LATERAL (SELECT 'u' || n %% %(users)s AS name) u
 CROSS JOIN LATERAL (SELECT CASE WHEN n %% 5 = 0 THEN now() + interval '1 day' ELSE now() END AS run_at) t;
INSERT INTO workerctl.history (id, status, finished_at, kind, queue, priority, max_attempts, failures, deaths, attempt,
       children_total, children_succeeded, children_dead, children_cancelled, run_at, created_at, started_at, payload,
       user_id)
SELECT nextval('workerctl.job_id'), CASE WHEN n %% 100 = 0 THEN 'dead' ELSE 'succeeded' END::workerctl.job_status,
       now() + make_interval(days => n %% 3), 'a', 'default', 0, 3, 0, 0, 1, 0, 0, 0, 0, now(), now(), now(), '{}',
       CASE WHEN n %% 2 = 0 THEN 'u' || n %% %(users)s END
  FROM generate_series(1, %(rows)s) AS n WHERE %(users)s > 0;
INSERT INTO workerctl.execution_log (job_id, message)
SELECT n %% (%(rows)s / 5), 'n' FROM generate_series(1, %(rows)s) AS n WHERE %(users)s > 0;
INSERT INTO workerctl.memory (job_id, key, value, attempt)
SELECT n / 4, 'made ' || n %% 4, '1', 1 FROM generate_series(1, %(rows)s) AS n WHERE %(users)s > 0;
INSERT INTO workerctl.tick (name, due_at, job_id, term)
SELECT 't' || n %% 10, now() - make_interval(secs => n), n, 1
  FROM generate_series(1, %(rows)s) AS n WHERE %(users)s > 0;
INSERT INTO workerctl.spend (job_id, attempt, purpose, kind, provider, model, user_id, cost, begun_at, ended_at, state,
       summed)
SELECT n, 1, 'image', 'a', 'p', 'm', 'u' || n %% %(users)s, 0.01, now() - make_interval(secs => 3.0 * n), now(), 'paid',
       n > 500  -- not yet added up
  FROM generate_series(1, %(rows)s) AS n
"""
BUDGETS = """[{"name": "day", "per_user": true, "most_cost": 1000000, "period_seconds": 86400},
             {"name": "all", "per_user": false, "most_calls": 1000000000, "period_seconds": 86400}]"""
BEGIN_CALL = """
SELECT workerctl.begin_call(%(job)s, %(attempt)s, 'image', 'a', 'p', 'm', 'u7', NULL, 0.01, true, %(budgets)s) ->> 'id'
"""
END_CALL = "SELECT workerctl.end_call(%s::bigint, %s, 'paid', 0.01, 1, 0, 0, '1')"

Connection = psycopg.Connection[Any]


class Plans:
    """Every plan of what a connection did, flattened into its nodes."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._nodes: list[tuple[str, dict[str, Any]]] = []
        connection.add_notice_handler(self._heard)

    def of(self, act: Callable[[], Any]) -> list[tuple[str, dict[str, Any]]]:
        """(statement, node) for each node of each plan that `act` made the server run."""
        self._nodes = []
        act()
        assert self._nodes, "the server said no plan"
        return self._nodes

    def _heard(self, notice: psycopg.errors.Diagnostic) -> None:
        text = notice.message_primary or ""
        if "plan:\n" in text:
            plan = json.loads(text.partition("plan:\n")[2])
            self._nodes += [(plan["Query Text"], node) for node in _flat(plan["Plan"])]


def _flat(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _flat(child)


def read_rows(node: dict[str, Any]) -> float:
    """How many rows a node looked at, those that it threw away included."""
    thrown_away = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node.get("Actual Rows", 0) + thrown_away) * node.get("Actual Loops", 1))


def bad_nodes(nodes: list[tuple[str, dict[str, Any]]], most: int) -> list[str]:
    """Nodes that read a big table from its beginning, or more of it than they should."""
    found = []
    for text, node in nodes:
        relation = node.get("Relation Name", "")
        if not relation.startswith(BIG):
            continue
        big = node.get("Actual Loops", 1) > 0 and relation.startswith(("live", "history", "seat"))
        if (node["Node Type"] == "Seq Scan" and big and read_rows(node) > 100) or read_rows(node) > most:
            found.append(
                f"{node['Node Type']} on {relation}, {read_rows(node):g} rows, in: {' '.join(text.split())[:400]}"
            )
    return found


@pytest.fixture(params=[pytest.param(100_000, id="100k"), pytest.param(1_000_000, id="1m", marks=pytest.mark.long)])
def plans(request: pytest.FixtureRequest, embedded_server: Any, database_url: str) -> Iterator[Plans]:
    """A queue with so many live and so many ended jobs, seen by a superuser's connection that reports its plans."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        migrate(owner)
        configure_limits(
            owner, {"few": RUNNING + 50, "user:{user_id}": 1}, {"few": (10_000, 60.0)}, {"plan:free": 10**6}
        )
        enqueue_many([{"kind": kind, "user_id": "first"} for kind in KINDS], conn=owner)
        enqueue_many([{"kind": kind} for kind in KINDS], conn=owner)
        for filling in FILL.split(";"):
            owner.cursor().execute(filling.encode(), {"rows": request.param, "users": USERS})
        owner.execute("ANALYZE workerctl.live, workerctl.history")
        a_worker(owner, "holder", 600)
        occupy(owner)
        owner.execute("VACUUM ANALYZE workerctl.live, workerctl.history, workerctl.seat, workerctl.hold")
    superuser = urlsplit(embedded_server.server.superuser_url)._replace(path=urlsplit(database_url).path).geturl()
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("LOAD 'auto_explain'")
        connection.execute(USED)
        yield Plans(connection)


def a_worker(connection: Connection, name: str, lease: float = 600) -> int:
    me = Registration(name, "n", "host", "default", 1, 1, None, [], lease)
    return register_worker(connection, me, [KnownKind(kind, "default", 3, 1) for kind in KINDS])


def occupy(connection: Connection) -> None:
    """Others run much: seats are taken, and one key's jobs are held."""
    holder = a_worker(connection, "holder")
    claimed = exchange(connection, holder, Request(want=RUNNING)).claimed or []
    assert len(claimed) > RUNNING / 2
    kind, user = "owned", {"user_id": "saturated"}
    enqueue_many([{"kind": kind, "priority": 50, **user} for _ in range(200)], conn=connection)
    assert exchange(connection, holder, Request(want=1)).claimed


def test_no_hot_statement_reads_a_table_through(plans: Plans) -> None:
    queue = plans.connection
    worker, other = a_worker(queue, "me"), a_worker(queue, "other")
    bad: dict[str, list[str]] = {}

    def look(name: str, act: Callable[[], Any], most: int = READ_AT_MOST) -> None:
        for _ in range(2):  # the second time is another: what was held, what was cached
            found = bad_nodes(plans.of(act), most)
            if found:
                bad[name] = found

    def claims(want: int = 8) -> list[Any]:
        found = exchange(queue, worker, Request(want=want)).claimed or []
        assert found
        return found

    def settle(**by: Any) -> None:
        assert not exchange(queue, worker, Request(want=8, renew_seconds=60.0, **by)).lost

    look("claim", claims)
    look("settle and claim", lambda: settle(ended=[Ended(job.id, job.attempt, "succeeded") for job in claims()]))
    look("put back", lambda: settle(again=[Again(job.id, job.attempt, True, 5.0) for job in claims()]))
    look("progress", lambda: settle(progress=[Progress(job.id, job.attempt, 1, 2) for job in claims()]))
    look("idle", lambda: exchange(queue, worker, Request(renew_seconds=60.0)))
    children = [{"kind": "a", "user_id": "first"}] * CHILDREN
    look("fan out", lambda: settle(parents=[Parent(job.id, job.attempt, children) for job in claims(1)[:1]]))
    look("follow up", lambda: settle(**with_follow_up(claims(1)[0])))
    claims()
    look("resume", lambda: resume(queue, worker, "me"))
    look("enqueue", lambda: enqueue("a", {}, conn=queue))
    look("enqueue of a user", lambda: enqueue("owned", {}, user_id="u7", unique_key="k", conn=queue))
    look(
        "enqueue of many users",
        lambda: enqueue_many([{"kind": "a", "user_id": f"u{n}"} for n in range(100)], conn=queue),
    )
    look("due queues", lambda: queues_with_due_jobs(queue))
    look("what falls due", lambda: fall_due(queue))
    look("next start", lambda: next_start_seconds(queue))
    look("show", lambda: show_job(queue, 5000))
    look("newest", lambda: list_jobs(queue, limit=50))
    look("dead ones", lambda: list_jobs(queue, status="dead", limit=50))
    look("what waits for children", lambda: list_jobs(queue, status="waiting", limit=50))
    look("what ended of a user", lambda: list_jobs(queue, status="succeeded", user_id="u8", limit=50))
    look(
        "what ended of a kind that nobody knows", lambda: list_jobs(queue, status="succeeded", kind="nobody", limit=50)
    )
    look("what runs", lambda: list_jobs(queue, status="running", limit=50))
    look("children of a batch", lambda: list_jobs(queue, parent_id=newest(queue, "status = 'waiting'"), limit=50))
    look("cancel one", lambda: cancel_jobs(queue, [newest(queue, "status = 'pending' AND parent_id IS NULL")]))
    look("cancel a batch", lambda: cancel_jobs(queue, [newest(queue, "status = 'waiting'")]))
    look("retry", lambda: retry_jobs(queue, [dead(queue)]))
    look("retry of a batch", lambda: retry_jobs(queue, [ended_batch(queue, worker)]))
    look("what nobody goes on with", lambda: sweep_on(queue, None, 1000))
    batch = a_batch_that_failed(queue)
    look("go on with a retry", lambda: queue.execute("SELECT workerctl.retry(%s, 10)", [batch]))
    look("leases", lambda: queue.execute("SELECT workerctl.renew_node('n', 'h', 'v', 1, 30)"))
    exchange(queue, other, Request(want=8))
    look("release", lambda: release_worker(queue, "other", died=True))
    look("suspects", lambda: exchange(queue, worker, Request(want=4, in_hand=1)))
    look("tick", lambda: queue.execute(statement("is_dealt_with"), {"name": "t", "due_at": "2026-01-01T00:00:00Z"}))
    look("limits", lambda: list_limits(queue))
    look("a limit of a kind", lambda: set_limit(queue, "few", RUNNING + 51))
    look("a new limit of a kind", lambda: set_limit(queue, "b", 5_000))
    look("a limit of keys", lambda: set_limit(queue, "user:{user_id}", 2))
    look("workers", lambda: workers(queue))
    look("nodes", lambda: nodes(queue))
    look("who is served by nobody", lambda: queue.execute(statement("unserved")), most=5_000)  # 1,000 of a lane
    look("log of a job", lambda: job_log(queue, 5000))
    look("memory of a job", lambda: job_memory(queue, 5000))
    look("a call of a provider", lambda: call_a_provider(queue, claims(1)[0]))
    look("sum of calls", lambda: queue.execute(statement("sum_spend")))
    look("spend of an hour", lambda: spend(queue, "user", 3600))
    look("calls without an end", lambda: unresolved_calls(queue, 3600))
    look("tidy", lambda: tidy_limits(queue))
    queue.execute(
        "INSERT INTO workerctl.schedule (name, cron, timezone, kind) VALUES ('t', '@every 1h', 'UTC', 'a');"
        " INSERT INTO workerctl.tick (name, due_at, job_id, term) SELECT 't', now(), max(id), 1 FROM workerctl.history;"
        " UPDATE workerctl.leadership SET term = 1, lease_until = 'infinity'"
    )
    look("tick made", lambda: make_a_tick(queue))
    look("schedules", lambda: schedules(queue))
    look("stats", lambda: stats(queue), most=6_000)  # 5,000 of a lane are counted
    look("queues", lambda: queues(queue), most=6_000)
    look("why", lambda: show_job(queue, newest(queue, "status = 'pending'")))
    queue.execute("UPDATE workerctl.admission SET most = 200")
    look("refusal", lambda: be_refused(queue), most=300)
    look("room for a plan without jobs", lambda: enqueue("a", {}, plan="rare", conn=queue), most=300)
    assert not bad, json.dumps(bad, indent=1)


def ended_batch(queue: Connection, worker: int) -> int:
    """A batch of which every child is dead; nothing of its making is looked at."""
    queue.execute("SET auto_explain.log_min_duration = -1")
    claimed = exchange(queue, worker, Request(want=1)).claimed or []
    children = [{"kind": "a"}] * CHILDREN
    exchange(queue, worker, Request(parents=[Parent(job.id, job.attempt, children) for job in claimed]))
    queue.execute(
        "SELECT workerctl.finish(jsonb_agg(jsonb_build_object('id', id, 'status', 'dead')))"
        " FROM workerctl.live WHERE parent_id = %s",
        [claimed[0].id],
    )
    queue.execute("SET auto_explain.log_min_duration = 0")
    return claimed[0].id


def call_a_provider(queue: Connection, job: Any) -> None:
    values = {"job": job.id, "attempt": job.attempt, "budgets": BUDGETS}
    row = queue.execute(BEGIN_CALL, values).fetchone()
    assert row is not None
    assert queue.execute(END_CALL, [row[0], job.attempt]).fetchone() == (True,)


def make_a_tick(queue: Connection) -> None:
    now = database_now(queue)
    assert make_tick(queue, term=1, name="t", due_at=now, kind="a", payload={}) is not None


def be_refused(queue: Connection) -> None:
    """At a plan's cap, of which few jobs are pending beside many of others."""
    with pytest.raises(QueueFull):
        enqueue("a", {}, plan="free", conn=queue)


def fall_due(queue: Connection) -> None:
    """The time has come for a hundred jobs of a lane, of one user and of many."""
    queue.execute(
        "UPDATE workerctl.live SET run_at = now(), rank = workerctl.later_rank(now(), 0) WHERE id = ANY (%s)",
        [enqueue_many([{"kind": "a", "user_id": f"u{n // 2 * (n % 2)}"} for n in range(100)], conn=queue)],
    )
    assert bring_due(queue) == 100


def a_batch_that_failed(queue: Connection) -> int:
    """With more children than may be read, of each day some."""
    batch = enqueue("b", conn=queue)
    queue.execute(
        "INSERT INTO workerctl.history SELECT child.* FROM (SELECT h, row_number() OVER () - 1 AS n"
        " FROM workerctl.history h ORDER BY h.id LIMIT %(most)s) f"
        " CROSS JOIN LATERAL jsonb_populate_record(f.h, jsonb_build_object('id', nextval('workerctl.job_id'),"
        " 'parent_id', %(batch)s::bigint, 'child_index', f.n, 'status', 'dead')) child",
        {"batch": batch, "most": 3 * READ_AT_MOST},
    )
    queue.execute(
        "UPDATE workerctl.live SET status = 'waiting', children_total = %(most)s, children_dead = %(most)s"
        " WHERE id = %(batch)s",
        {"batch": batch, "most": 3 * READ_AT_MOST},
    )
    queue.execute("ANALYZE workerctl.history")
    return batch


def with_follow_up(job: Any) -> dict[str, Any]:
    return {"ended": [Ended(job.id, job.attempt, "succeeded")], "follow_ups": [FollowUp(job.id, {"kind": "a"})]}


def newest(queue: Connection, condition: str) -> int:
    queue.execute("SET auto_explain.log_min_duration = -1")
    row = queue.execute(f"SELECT max(id) FROM workerctl.live WHERE {condition}".encode()).fetchone()
    queue.execute("SET auto_explain.log_min_duration = 0")
    assert row is not None
    return int(row[0])


def dead(queue: Connection) -> int:
    queue.execute("SET auto_explain.log_min_duration = -1")
    row = queue.execute("SELECT max(id) FROM workerctl.history WHERE status = 'dead'").fetchone()
    queue.execute("SET auto_explain.log_min_duration = 0")
    assert row is not None
    return int(row[0])
