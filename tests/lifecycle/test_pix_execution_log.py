"""A worker that dies with log entries in hand: what was said over a second before is there, once and in order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from lifecycle_house import CONFIG, House, until

LOSS_SECONDS = 1.0  # what docs/jobs.md promises
SLACK_SECONDS = 1.0  # of a busy machine
KIND = '''
import asyncio, os, time
from pathlib import Path
from workerctl import Context, job


@job("chat")
async def chat(payload: dict, ctx: Context) -> None:
    """Says and notes a number 50 times a second, until its worker is killed; then it is brief."""
    for n in range(3000 if ctx.job.attempt == 1 else 1):
        ctx.log("said", n=n)
        with Path(payload["file"]).open("a") as file:
            file.write(f"{n} {time.time():.6f} {os.getpid()}\\n")
        await asyncio.sleep(0.02)
'''


def test_a_killed_worker_loses_at_most_the_last_second_of_its_log(build: Callable[..., House]):
    house = build(CONFIG.replace('["kinds"]', '["chatty"]'))
    (house.folder / "chatty.py").write_text(KIND)
    house.start(1)
    said_file = house.folder / "said"
    job = house.enqueue("chat", file=str(said_file))

    def said() -> list[list[str]]:
        return [line.split() for line in said_file.read_text().splitlines()] if said_file.exists() else []

    until(lambda: len(said()) > 150, what="the job talks")
    killed_at = time.time()
    os.kill(int(said()[0][2]), signal.SIGKILL)
    house.until_status(job, "succeeded")
    first_attempt = [(int(n), float(at)) for n, at, pid in said() if pid == said()[0][2]]
    safe = [n for n, at in first_attempt if at < killed_at - LOSS_SECONDS - SLACK_SECONDS]
    assert len(safe) > 10

    def kept(attempt: int) -> list[int]:
        log = house.json("jobs", "show", job)["log"]
        return [entry["fields"]["n"] for entry in log if entry["attempt"] == attempt]

    until(lambda: kept(2) == [0], what="the second attempt's entry is written")
    with house.database() as connection:
        rows = connection.execute(
            "SELECT (fields ->> 'n')::int AS n FROM workerctl.execution_log"
            " WHERE job_id = %s AND attempt = 1 ORDER BY id",
            [job],
        ).fetchall()
    numbers = [row["n"] if isinstance(row, dict) else row[0] for row in rows]
    assert numbers == list(range(len(numbers)))
    assert set(safe) <= set(numbers)
