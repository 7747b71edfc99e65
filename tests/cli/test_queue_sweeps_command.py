"""`workerctl jobs cancel` and `jobs retry` of a batch whose children are cancelled some thousand at a time."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from workerctl.cli.so_far import SoFar
from workerctl.producer import enqueue


def test_a_retry_in_a_batch_that_is_being_cancelled_says_so(
    queue: psycopg.Connection[Any], database_url: str, call: Any
) -> None:
    batch = enqueue("a", conn=queue)
    queue.execute("UPDATE workerctl.live SET status = 'waiting', children_total = 1, cancel_asked_at = now()")
    queue.execute("INSERT INTO workerctl.sweep (job_id, asked_of, redo) VALUES (%(id)s, %(id)s, false)", {"id": batch})
    done = call("jobs", "retry", str(batch), DATABASE_URL=database_url)
    assert done.returncode == 1
    assert done.stderr == f"workerctl: job {batch} is still being cancelled; try again once it has ended\n"


def test_a_command_that_is_interrupted_says_how_far_it_came_and_who_goes_on(capsys: Any) -> None:
    def interrupted() -> None:
        with SoFar("cancelled") as so_far:
            so_far(5000)
            so_far(10_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().err == (
        "note: 10000 jobs cancelled; the agent of a node that runs goes on with the rest\n"
    )
