"""Which queue and kind each of many jobs goes to, in calls of one kind and queue and of several."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from workerctl.producer import enqueue_many

Queue = psycopg.Connection[Any]
WHERE_THEY_WENT = """
SELECT j.kind, j.queue, j.max_attempts FROM unnest(%s::bigint[]) WITH ORDINALITY AS o(id, ordinal)
  JOIN workerctl.job j USING (id) ORDER BY ordinal
"""


@pytest.mark.parametrize("lanes_are_there", [False, True])
@pytest.mark.parametrize(
    "jobs",
    [
        [("a", None, None), ("a", "other", None)],
        [("a", "other", None), ("a", None, None), ("a", "third", None)],
        [("a", None, None), ("b", None, None), ("b", "other", 2)],
        [("b", None, None), ("b", None, 2)],
        [("a", "other", None), ("a", "other", None)],
    ],
)
def test_each_of_many_goes_to_its_own_queue_and_kind(
    queue: Queue, jobs: list[tuple[str, str | None, int | None]], lanes_are_there: bool
) -> None:
    queue.execute("INSERT INTO workerctl.kind (name, queue, max_attempts) VALUES ('b', 'of-b', 7)")
    specs = [{"kind": kind, "queue": lane, "max_attempts": attempts} for kind, lane, attempts in jobs]
    for _ in range(1 + lanes_are_there):
        ids = enqueue_many(specs, conn=queue)
    defaults: dict[str, tuple[str, int]] = {"a": ("default", 3), "b": ("of-b", 7)}
    assert queue.execute(WHERE_THEY_WENT, [ids]).fetchall() == [
        (kind, lane or defaults[kind][0], attempts or defaults[kind][1]) for kind, lane, attempts in jobs
    ]


def test_no_jobs_are_no_error(queue: Queue) -> None:
    assert queue.execute("SELECT workerctl.insert_jobs('[]')").fetchone() == ([],)
