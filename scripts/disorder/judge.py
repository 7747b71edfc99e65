"""The invariants at the end, from the rows and from what the handlers wrote down. Each check says what is broken."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from typing import Any

import psycopg
from disorder.records import Record, began, ended

POISON = "times with nothing but this job in hand"
SHOWN = 10
WITNESSED = "job_id || ' attempt ' || attempt"  # in the tables of evidence.sql

# name of the invariant -> a query that gives what breaks it, as text
QUERIES = {
    "every job ends": """
        SELECT id || ' ' || kind || ' ' || status || CASE WHEN held THEN ' held' ELSE '' END || ', attempt ' || attempt
          FROM workerctl.job WHERE status IN ('pending', 'running', 'waiting')
           AND (kind <> 'tick' OR attempt > 0)""",  # the last agent makes ticks until it leaves, after the workers
    "settled once": "SELECT id || ' ' || count(*) || ' times' FROM workerctl.history GROUP BY id HAVING count(*) > 1",
    "live or history": "SELECT l.id::text FROM workerctl.live l JOIN workerctl.history h USING (id)",
    "dead only for a stated reason":
        f"SELECT id || ' ' || status || ': ' || coalesce(error, '') FROM workerctl.history"
        f" WHERE status <> 'succeeded' AND coalesce(error, '') NOT LIKE '%{POISON}%' AND children_dead = 0",
    "a batch's counts equal its children": """
        SELECT p.id || ': ' || p.children_total || ' = ' || p.children_succeeded || '+' || p.children_dead || '+'
               || p.children_cancelled || ', but rows ' || coalesce(c.total, 0)
          FROM workerctl.history p
          LEFT JOIN (SELECT parent_id, count(*) AS total, count(*) FILTER (WHERE status = 'succeeded') AS succeeded,
                            count(*) FILTER (WHERE status = 'dead') AS dead
                       FROM workerctl.history GROUP BY parent_id) c ON c.parent_id = p.id
         WHERE (p.children_total > 0 OR c.total > 0)
           AND (p.children_total, p.children_succeeded, p.children_dead, p.children_cancelled)
               IS DISTINCT FROM (c.total::integer, c.succeeded::integer, c.dead::integer, 0)""",
    "one continuation for a batch": """
        SELECT p.id || ' has ' || count(a.id) FROM workerctl.history p
          LEFT JOIN workerctl.history a ON a.kind = 'after' AND (a.payload ->> 'parent')::bigint = p.id
         WHERE p.kind = 'batch' GROUP BY p.id, p.status
        HAVING count(a.id) <> (p.status = 'succeeded')::integer""",
    "one follow-up for a job that counted": """
        SELECT p.id || ' has ' || count(a.id) FROM workerctl.history p
          LEFT JOIN workerctl.history a ON a.kind = 'echo' AND (a.payload ->> 'of')::bigint = p.id
         WHERE p.kind = 'follow' GROUP BY p.id, p.status
        HAVING count(a.id) <> (p.status = 'succeeded')::integer""",
    "no seat is left": "SELECT key || ' ' || job_id FROM workerctl.seat",
    "no hold is left": "SELECT key || ' ' || job_id FROM workerctl.hold",
    "no worker is left": "SELECT incarnation || ' ' || pid FROM workerctl.worker WHERE node_id <> 'ghost'",
    "only its holder lets a job go":
        f"SELECT {WITNESSED} || ' of ' || worker_id || ' into ' || into_what FROM chaos.let_go WHERE NOT by_holder",
    "an attempt is handed out once":
        f"SELECT {WITNESSED} || ' ' || count(*) FROM chaos.handed GROUP BY job_id, attempt HAVING count(*) > 1",
    "a hand-out ends once, where it began": f"""
        SELECT {WITNESSED} || ': handed out ' || sum(handed) || ' times, ended ' || sum(ended)
          FROM (SELECT job_id, attempt, worker_id, 1 AS handed, 0 AS ended FROM chaos.handed UNION ALL
                SELECT job_id, attempt, worker_id, 0, 1 FROM chaos.let_go) e
          JOIN (SELECT id FROM workerctl.history) h ON h.id = job_id
         GROUP BY job_id, attempt, worker_id HAVING sum(handed) <> 1 OR sum(ended) <> 1""",
    # seconds apart within half a lease: one alone may have waited in a frozen server, and its worker slept since
    "the lease of a worker that speaks does not end": """
        SELECT g.worker_id || ' claimed until ' || max(h.at) || ', its lease ended ' || g.lease_until
          FROM chaos.given_up g JOIN chaos.handed h USING (worker_id) WHERE h.at > g.lease_until - interval '8 s'
         GROUP BY g.worker_id, g.lease_until HAVING max(h.at) - min(h.at) > interval '2 s'""",
    "one job for a tick": """
        SELECT coalesce(t.due_at::text, 'no tick') || ' ' || count(*) FROM workerctl.tick t
          FULL JOIN (SELECT id FROM workerctl.job WHERE kind = 'tick') h ON h.id = t.job_id
         GROUP BY t.due_at HAVING count(*) > 1 OR count(t.job_id) <> count(h.id)""",
    "no due time is left out": """
        SELECT missing::text FROM (SELECT min(due_at) AS first, max(due_at) AS last FROM workerctl.tick) s,
               generate_series(s.first, s.last, '1 second') AS missing
         WHERE NOT EXISTS (SELECT FROM workerctl.tick t WHERE t.due_at = missing)""",
}  # fmt: skip


def judge(
    connection: psycopg.Connection[Any],
    records: list[Record],
    acknowledged: Iterable[int],
    slept: Collection[tuple[int, int]] = (),
) -> list[str]:
    """Every broken invariant as one line with ids; empty when all hold. `slept` may have begun late: (job, attempt)."""
    broken = []
    for name, query in QUERIES.items():
        rows = [str(text) for (text,) in connection.execute(query.encode()).fetchall()]
        broken += [_line(name, rows)] if rows else []
    ended_rows = connection.execute("SELECT id, attempt, status::text FROM workerctl.history").fetchall()
    for name, found in (
        ("nothing that was acknowledged is lost", sorted(set(acknowledged) - {job_id for job_id, _, _ in ended_rows})),
        ("attempts strictly increase", _not_increasing([record for record in records if record[1:3] not in slept])),
        ("what is settled has run", _never_ran(ended_rows, records)),
    ):
        broken += [_line(name, [str(item) for item in found])] if found else []
    return broken


def _not_increasing(records: list[Record]) -> list[str]:
    """An attempt that began twice, or after a later one."""
    return [
        f"{job_id} began {attempts}"
        for job_id, attempts in began(records).items()
        if any(later <= earlier for earlier, later in itertools.pairwise(attempts))
    ]


def _never_ran(rows: list[Any], records: list[Record]) -> list[str]:
    """Jobs whose winning attempt did not get to its end though it counts as succeeded."""
    ends = ended(records)
    return [f"{job_id} attempt {attempt}" for job_id, attempt, status in rows
            if status == "succeeded" and (job_id, attempt) not in ends]  # fmt: skip


def _line(name: str, rows: list[str]) -> str:
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"{name}: {len(rows)} broken: {'; '.join(rows[:SHOWN])}{more}"
