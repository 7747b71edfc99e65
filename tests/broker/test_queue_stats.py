"""What ran, from histograms that workers say; how much waits, at any size."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerctl.broker.depth import queues, stats
from workerctl.broker.exchange import Again, Ended, Parent, RunStats
from workerctl.broker.histogram import histogram, percentile
from workerctl.broker.jobs import cancel_jobs
from workerctl.broker.limits import configure_limits
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]
DURATIONS = st.floats(min_value=0.0001, max_value=86400)


@given(st.lists(DURATIONS, min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_right_to_a_tenth(durations: list[float], share: float) -> None:
    buckets = {str(bucket): count for bucket, count in histogram(durations).items()}
    exact = sorted(durations)[max(1, -(-len(durations) * int(share * 100) // 100)) - 1]
    found = percentile(buckets, share)
    assert found is not None
    assert 0.9 < found / exact < 1.1


def test_the_ends_of_the_scale() -> None:
    assert histogram([-1, 0, 0.00009, 0.0001]) == {0: 3, 1: 1}
    assert list(histogram([1e30, 1e12]).values()) == [2]
    assert percentile({}, 0.5) is None


def said(count: int = 1, *, kind: str = "a", queue: str = "default", seconds: float = 0.1) -> RunStats:
    waits, runs = [2 * seconds] * count, [seconds] * count
    return RunStats(
        queue, kind, succeeded=count, wait_seconds=sum(waits), run_seconds=sum(runs),
        waits=histogram(waits), runs=histogram(runs),
    )  # fmt: skip


def row(queue: Queue, kind: str = "a") -> dict[str, Any]:
    [found] = [row for row in stats(queue) if row["kind"] == kind]
    return found


def test_what_workers_say_is_added_up_per_queue_and_kind(queue: Queue, new_worker: Any) -> None:
    enqueue_many([("a", None), ("b", None)], conn=queue)
    for _ in range(2):
        new_worker().says(stats=[said(30, seconds=0.1), said(10, kind="b")])
    new_worker().says(stats=[said(2, seconds=5.0)])
    found = row(queue)
    assert (found["1m"]["succeeded"], found["1h"]["succeeded"], found["1d"]["succeeded"]) == (62, 62, 62)
    assert found["1m"]["per_second"] == pytest.approx(62 / 60, abs=0.001)
    assert found["1m"]["run_p50_seconds"] == pytest.approx(0.1, rel=0.1)
    assert found["1m"]["run_p99_seconds"] == pytest.approx(5.0, rel=0.1)
    assert found["1m"]["wait_p50_seconds"] == pytest.approx(0.2, rel=0.1)
    assert row(queue, "b")["1m"]["succeeded"] == 20


def test_upkeep_adds_spans_up_and_changes_no_figure(queue: Queue, new_worker: Any) -> None:
    enqueue("a", conn=queue)
    worker = new_worker()
    for number in range(40):
        worker.says(stats=[said(3, seconds=0.01 * (1 + number % 7))])
    for age in ("90 s", "50 min", "4 h"):
        queue.execute(
            "UPDATE workerctl.run_stats SET at = at - %s::interval WHERE ctid IN"
            " (SELECT ctid FROM workerctl.run_stats WHERE at > now() - interval '60 s' LIMIT 10)",
            [age],
        )
    before = [row(queue)[name] for name in ("1m", "1h", "1d")]
    assert [span["succeeded"] for span in before] == [30, 90, 120]
    for _ in range(4):
        queue.execute("SELECT workerctl.tidy_stats()")
    assert [row(queue)[name] for name in ("1m", "1h", "1d")] == before
    spans = queue.execute("SELECT span, count(*) FROM workerctl.run_stats GROUP BY span ORDER BY span").fetchall()
    assert {1, 300, 3600} <= {span for span, _ in spans}
    assert all(count <= 2 for _, count in spans[1:])  # two where a span ends in between
    queue.execute("UPDATE workerctl.run_stats SET at = at - interval '27 h'")
    queue.execute("SELECT workerctl.tidy_stats()")
    assert queue.execute("SELECT count(*) FROM workerctl.run_stats").fetchone() == (0,)


def test_after_hours_of_work_few_rows_are_left(queue: Queue) -> None:
    """Upkeep comes every 5 s, and finds each time a little more that is old enough."""
    begin = dt.datetime(2026, 1, 1, 0, 0, 3, tzinfo=dt.UTC)
    with queue.pipeline():
        for second in range(0, 4 * 3600, 5):
            clock = begin + dt.timedelta(seconds=second)
            queue.execute(
                "INSERT INTO workerctl.run_stats (at, queue, kind, succeeded, failed, dead, cancelled, wait_seconds,"
                " run_seconds, waits, runs) VALUES (%s, 'default', 'a', 1, 0, 0, 0, 1, 1, '{\"7\": 1}', '{\"9\": 1}')",
                [clock],
            )
            queue.execute("SELECT workerctl.tidy_stats(%s)", [clock])
    rows = dict(queue.execute("SELECT span, count(*) FROM workerctl.run_stats GROUP BY span").fetchall())
    most = {1: 6, 10: 15, 60: 20, 300: 30, 3600: 4}
    assert {span: min(count, most[span]) for span, count in rows.items()} == rows
    said = queue.execute("SELECT sum(succeeded), sum((waits ->> '7')::int) FROM workerctl.run_stats").fetchone()
    assert said == (4 * 720, 4 * 720)


def test_a_worker_says_how_long_each_job_waited(queue: Queue, new_worker: Any) -> None:
    enqueue("a", conn=queue)
    queue.execute("UPDATE workerctl.live SET run_at = now() - interval '90 s'")
    [job] = new_worker().says(want=1).claimed
    assert 89 < job.waited < 100


def test_a_poisoned_job_counts_as_dead(queue: Queue, new_worker: Any) -> None:
    enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    queue.execute("UPDATE workerctl.live SET lone_deaths = 2")
    queue.execute("SELECT workerctl.release_workers(ARRAY[%s]::bigint[], true)", [worker.id])
    assert row(queue)["1m"]["dead"] == 1


def test_a_batch_that_dies_with_its_children_counts_as_dead(queue: Queue, new_worker: Any) -> None:
    top = enqueue("a", conn=queue)
    worker = new_worker(("a", "b", "c"))
    worker.claims(1)
    worker.says(parents=[Parent(top, 1, [{"kind": "b", "payload": {}}])])
    [(inner, _)] = worker.claims(1)
    worker.says(parents=[Parent(inner, 1, [{"kind": "c", "payload": {}}] * 2)])
    children = worker.claims(2)
    worker.says(ended=[Ended(child, 1, "dead") for child, _ in children])  # what a worker runs it counts itself
    assert [row(queue, kind)["1m"]["dead"] for kind in "abc"] == [1, 1, 0]
    assert queues(queue)[0]["dead_1d"] == 2


def test_depth_tells_due_later_retries_held_running_and_waiting(queue: Queue, new_worker: Any) -> None:
    configure_limits(queue, {"u:{user_id}": 1}, {}, {})
    worker = new_worker()
    parent, failing, *_ = enqueue_many([("a", None)] * 5, conn=queue)
    worker.claims(2)
    worker.says(parents=[Parent(parent, 1, [{"kind": "b", "payload": {}}])], again=[Again(failing, 1, True, 60, "no")])
    enqueue("a", run_at=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), conn=queue)
    enqueue_many([{"kind": "c", "user_id": "u1"} for _ in range(3)], conn=queue)
    other = new_worker(("c",))
    assert len(other.claims(8)) == 1
    a, c = row(queue), row(queue, "c")
    assert (a["pending"], a["later"], a["retries"], a["waiting"], a["running"]) == (5, 2, 1, 1, 0)
    assert (c["pending"], c["held"], c["running"]) == (2, 2, 1)
    [whole] = queues(queue)
    assert (whole["pending"], whole["due"], whole["later"], whole["retries"]) == (8, 6, 2, 1)
    assert (whole["held"], whole["running"], whole["waiting"], whole["guessed"]) == (2, 1, 1, False)
    assert 0 <= whole["oldest_due_seconds"] < 60
    cancel_jobs(queue, [parent])


def test_thousands_for_later_are_not_due(queue: Queue) -> None:
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    enqueue_many([{"kind": "a", "run_at": tomorrow}] * 3000, conn=queue)
    due = enqueue_many([("a", None)] * 3, conn=queue)
    queue.execute("UPDATE workerctl.live SET failures = 1 WHERE id = %s", [due[1]])
    queue.execute(
        "UPDATE workerctl.live SET deaths = 1, failures = 1, run_at = now() - interval '1 h' WHERE id = %s", [due[0]]
    )
    [whole] = queues(queue)
    assert (whole["due"], whole["later"], whole["retries"], whole["guessed"]) == (3, 3000, 2, False)
    assert whole["oldest_due_seconds"] == pytest.approx(3600, abs=60)
    enqueue_many([{"kind": "a", "run_at": tomorrow}] * 6000, conn=queue)
    [whole] = queues(queue)
    assert (whole["due"], whole["later"], whole["guessed"]) == (3, 9000, True)


def test_the_job_that_waits_longest_is_found_behind_those_that_go_before_it(queue: Queue) -> None:
    old = enqueue("a", conn=queue)
    queue.execute("UPDATE workerctl.live SET run_at = now() - interval '2 h' WHERE id = %s", [old])
    enqueue_many([{"kind": "a", "priority": 100}] * 500, conn=queue)
    assert queues(queue)[0]["oldest_due_seconds"] == pytest.approx(7200, abs=60)


def test_more_held_jobs_than_are_looked_at_are_guessed(queue: Queue) -> None:
    job = enqueue("a", conn=queue)
    queue.execute(
        "INSERT INTO workerctl.live (lane_id, rank, held, limit_names, limit_keys)"
        " SELECT l.lane_id, n, true, '{u}', '{u}' FROM workerctl.live l, generate_series(1, 30000) n WHERE l.id = %s",
        [job],
    )
    queue.execute("INSERT INTO workerctl.hold SELECT 'u', l.rank, l.id FROM workerctl.live l WHERE l.held")
    queue.execute("ANALYZE workerctl.hold")
    found = row(queue)
    assert 0.8 < found["held"] / 30000 < 1.2
    assert (found["pending"], found["guessed"]) == (found["held"] + 1, True)


def test_depth_of_a_deep_lane_is_guessed_and_costs_little(queue: Queue) -> None:
    enqueue_many([("a", None), ("b", None)], conn=queue)
    queue.execute(
        "INSERT INTO workerctl.live (lane_id, rank) SELECT l.lane_id, n FROM workerctl.live l,"
        " generate_series(1, CASE WHEN l.id = 1 THEN 60000 ELSE 4000 END) n"
    )
    queue.execute("ANALYZE workerctl.live")
    began = time.monotonic()
    a, b = row(queue), row(queue, "b")
    assert time.monotonic() - began < 2
    assert a["guessed"]
    assert 0.8 < a["pending"] / 60001 < 1.2
    assert (b["pending"], b["guessed"]) == (4001, False)


def test_the_figures_are_json(queue: Queue, new_worker: Any) -> None:
    job = enqueue("a", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(ended=[Ended(job, 1, "succeeded")], stats=[said()])
    assert json.loads(json.dumps(stats(queue)))[0]["kind"] == "a"


def test_a_backlog_that_the_planner_knows_nothing_of_yet_is_counted(queue: Queue) -> None:
    enqueue_many([("a", None)] * 7_000, conn=queue)
    (row,) = stats(queue)
    assert (row["pending"], row["guessed"]) == (7_000, True)
