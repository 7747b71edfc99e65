"""What is said to the queue, as chance draws it, and what is read of its rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from workerctl.broker.exchange import Request

KINDS = {"plain": 1, "few.big": 1, "few.small": 1, "rated": 1, "bulk": 3}  # kind -> jobs in one call
LIMITS: dict[str, int | None] = {"few": 3, "few.big": 2, "user:{user_id}": 1, "model:{payload.model}": 2}
RATES = {"rated": 3}  # starts within an hour
ADMISSION = {"plan:free": 4}
LATER_SECONDS = 3600.0
STUCK_SECONDS = 0.1
ROWS = """
SELECT l.id, a.kind, a.queue, l.status::text, l.attempt, l.failures, l.deaths, l.worker_id, l.parent_id,
       l.cancel_asked_at IS NOT NULL, l.children_total, l.children_succeeded, l.children_dead, l.children_cancelled,
       (l.payload::jsonb ->> 'tag')::integer, l.run_at <= now(), l.held, l.rank, l.reserved_by
  FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id
UNION ALL
SELECT id, kind, queue, status::text, attempt, failures, deaths, NULL, parent_id, false, children_total,
       children_succeeded, children_dead, children_cancelled, (payload ->> 'tag')::integer, true, false, 0, NULL
  FROM workerctl.history
"""
SEATS = """
SELECT s.key, count(*) FROM workerctl.seat s JOIN workerctl.live l ON l.id = s.job_id
 WHERE l.status = 'running' GROUP BY s.key
"""
PAUSE = """
INSERT INTO workerctl.lane (queue, kind, keyed, batch, paused)
SELECT q, %(kind)s, keyed, coalesce((SELECT batch FROM workerctl.kind WHERE name = %(kind)s), 1),
       EXISTS (SELECT FROM workerctl.queue WHERE name = q AND paused_at IS NOT NULL)
  FROM unnest('{default,second}'::text[]) AS q, unnest('{f,t}'::boolean[]) AS keyed ON CONFLICT DO NOTHING;
SELECT workerctl.pause_provider('of ' || %(kind)s, 3600, 'too many', %(kind)s)
"""
HOLDS = "SELECT job_id, key FROM workerctl.hold"
HELD_AND_TURNS = """
SELECT lane_id, user_id, priority, count(*), count(DISTINCT rank), min(rank - workerctl.rank_of(run_at, priority))
  FROM workerctl.live
 WHERE status = 'pending' AND attempt = 0 AND rank < workerctl.later() AND id <> ALL (%s::bigint[])
 GROUP BY 1, 2, 3
"""
TABLES = (
    "live", "history", "seat", "hold", "start", "worker", "limits", "rates", "lane", "queue", "kind", "provider",
    "sweep",
)  # fmt: skip
EMPTY = "; ".join(f"DELETE FROM workerctl.{table}" for table in TABLES)

CANCEL = b"SELECT workerctl.cancel(ARRAY[%s::bigint], %s::integer)"
RETRY = b"SELECT workerctl.retry(%s::bigint, %s::integer)"

ids = st.integers(0, 40)  # picks one of what there is

specs = st.lists(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(list(KINDS))},
        optional={
            "queue": st.just("second"), "user_id": st.sampled_from("uuuv"), "model": st.sampled_from("mn"),
            "plan": st.just("free"), "unique_key": st.sampled_from(["k1", "k2"]), "priority": st.sampled_from([-5, 5]),
            "later": st.just(True),
        },
    ),
    min_size=1, max_size=4,
)  # fmt: skip
mosts = st.sampled_from([None, 1, 2])  # jobs of a family in one transaction
wants = st.sampled_from([4, 4, 2, 1, 0])
outcomes = st.lists(
    st.tuples(
        ids,
        st.sampled_from(["succeeded", "succeeded", "dead", "cancelled", "failed", "back", "snooze", "children"]),
        specs, st.booleans(), st.booleans(),
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """A live or ended row, what the model does not decide: whether it is held, its rank, who reserved it."""

    row: tuple[Any, ...]
    tag: int
    due: bool
    held: bool
    rank: int
    reserved_by: int | None


@dataclass(slots=True)
class Said:
    """One request of a worker, and what the model does when it has been said."""

    request: Request
    effects: list[tuple[int, Callable[[], None]]] = field(default_factory=list)  # by their turn in the database

    def take_effect(self) -> None:
        for _, effect in sorted(self.effects, key=lambda entry: entry[0]):
            effect()
