"""Watches a job until it ends, with a progress bar where somebody looks."""

from __future__ import annotations

import sys
import time
from typing import Any

import psycopg

from ..broker.jobs import show_job
from .common import console, say

POLL_SECONDS = 0.1
FINISHED = frozenset({"succeeded", "dead", "cancelled"})


def follow_job(connection: psycopg.Connection[Any], job_id: int) -> dict[str, Any]:
    """The job once it has ended; a batch has ended when its children have."""
    if not sys.stderr.isatty():
        told: set[str] = set()
        return _poll(connection, job_id, lambda job: _say_stuck(job, told))
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"job {job_id}", total=None, note="")

        def update(job: dict[str, Any]) -> None:
            done, total = how_far(job)
            bar.update(task, completed=done, total=total, note=job["waits_because"] or job["status"])

        return _poll(connection, job_id, update)


def how_far(job: dict[str, Any]) -> tuple[int, int | None]:
    """(done, total) of a job: its children's where it is a batch; total None where nothing is known."""
    if job["children_total"]:
        return job["children_succeeded"] + job["children_dead"] + job["children_cancelled"], job["children_total"]
    if job["progress"]:
        return job["progress"]["done"], job["progress"]["total"]
    return 0, None


def _say_stuck(job: dict[str, Any], told: set[str]) -> None:
    """Say once that a job waits for something that time alone does not bring."""
    why = job["waits_because"] or ""
    if why.startswith(("no worker", "queue")) and why not in told:
        told.add(why)
        say(f"note: job {job['id']} waits: {why}")


def _poll(connection: psycopg.Connection[Any], job_id: int, update: Any) -> dict[str, Any]:
    while True:
        job = show_job(connection, job_id)
        update(job)
        if job["status"] in FINISHED:
            return job
        time.sleep(POLL_SECONDS)
