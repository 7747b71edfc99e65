"""A job's end as its worker says it, and its status as the queue tells it."""

from __future__ import annotations

from typing import Any

import psycopg

from workerctl.broker.exchange import Ended
from workerctl.broker.jobs import show_job

Queue = psycopg.Connection[Any]


def ended(job: tuple[int, int], status: str = "succeeded", **fields: Any) -> Ended:
    return Ended(*job, status, **fields)


def status(queue: Queue, job_id: int) -> str:
    return str(show_job(queue, job_id)["status"])
