"""What the queue refuses at the earliest moment, and limits of a kind for one plan."""

from __future__ import annotations

import math
from typing import Any, cast

import psycopg
import pytest

from workerctl.broker.exchange import Parent, Progress
from workerctl.broker.jobs import show_job
from workerctl.broker.limits import configure_limits, list_limits
from workerctl.handler import Context, InvalidPayload, Job, Refused, Services, job_spec
from workerctl.producer import enqueue, enqueue_many

Queue = psycopg.Connection[Any]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_payload_with_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InvalidPayload, match="NaN or an infinity"):
        job_spec("a", {"deep": [{"x": None, "y": value}]})
    assert job_spec("a", {"x": None, "words": "null", "y": 1.5})["payload"]["y"] == 1.5


def test_nul_is_refused_before_the_queue_is_asked() -> None:
    with pytest.raises(Refused, match="NUL"):
        job_spec("a", {"x": "a\x00b"})


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


def test_a_child_can_be_no_parent_of_its_own_ancestor(queue: Queue, new_worker: Any) -> None:
    """A parent is given to a job when it is made: whose unique key an ancestor holds is not made again."""
    top = enqueue("a", unique_key="top", conn=queue)
    worker = new_worker()
    worker.claims(1)
    worker.says(parents=[Parent(top, 1, [{"kind": "b", "payload": {}}])])
    [(child, attempt)] = worker.claims(8)
    again = [{"kind": "a", "payload": {}, "unique_key": "top"}]
    assert not worker.says(parents=[Parent(child, attempt, again)]).lost
    assert show_job(queue, top)["parent_id"] is None
    assert show_job(queue, child)["status"] == "succeeded", "none of its children came to be"
    assert show_job(queue, top)["status"] == "succeeded"


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
