"""What must hold whatever was broken: no job is lost, none ends twice, and the house stands as it was asked to."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg
from lifecycle_house import House, until


class Ledger:
    """Jobs that a test enqueued while it broke things."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.jobs: list[int] = []

    def enqueue(self, count: int, *, seconds: float = 0.0) -> list[int]:
        """So many jobs that note each execution and take so long."""
        payload = {"file": str(self._house.effects), "seconds": seconds}
        jobs = self._house.enqueue_all("mark", [payload] * count)
        self.jobs += jobs
        return jobs

    def settled(self, seconds: float = 60.0) -> dict[int, int]:
        """Wait until all have ended: once each, with success, the winning attempt really run. Attempts by job."""
        self._house.until_database(self._all_ended, seconds, what=f"{len(self.jobs)} jobs end")
        with self._house.database() as connection:
            rows = connection.execute(
                "SELECT id, status::text, attempt FROM workerctl.history WHERE id = ANY(%s)", [self.jobs]
            ).fetchall()
        assert Counter(job for job, _, _ in rows) == Counter(self.jobs), "lost, or ended twice"
        assert {status for _, status, _ in rows} <= {"succeeded"}, rows
        ran = Counter((int(line[1]), int(line[2])) for line in self._house.noted("mark"))
        assert not [run for run, times in ran.items() if times > 1], "an attempt was handed out twice"
        attempts = {job: attempt for job, _, attempt in rows}
        assert not [job for job, attempt in attempts.items() if (job, attempt) not in ran], "settled and never run"
        return attempts

    def _all_ended(self, connection: psycopg.Connection[Any]) -> bool:
        row = connection.execute("SELECT count(*) FROM workerctl.live WHERE id = ANY(%s)", [self.jobs]).fetchone()
        return row is not None and row[0] == 0


def stands(house: House, workers: int, *, state: str = "running") -> None:
    """So many workers are ready, nobody else sits in a slot, every role serves and the state says so."""
    house.until_ready(workers)

    def whole() -> bool:
        status = house.status()
        roles = [process for role in status["roles"] if role["name"] != "migrate" for process in role["processes"]]
        return status["supervisor"]["state"] == state and all(process["phase"] == "ready" for process in roles)

    until(whole, what=f"every role is ready and the state is {state}")
