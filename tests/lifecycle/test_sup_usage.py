"""What `status` says of processor time: that of programs which a process has started, too."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
from lifecycle_house import House, until


def role(house: House, name: str) -> dict[str, Any]:
    [team] = [team for team in house.status()["roles"] if team["name"] == name]
    process: dict[str, Any] = team["processes"][0]
    return process


def test_the_processor_time_of_what_a_job_started_and_of_connections_is_theirs(running: House) -> None:
    job = running.enqueue("burns", gate=str(running.gate))
    with running.database() as connection:
        query = threading.Thread(target=_count_long, args=(connection,))
        query.start()
        own_bytes = until(lambda: role(running, "postgres")["rss_bytes"], what="postgres is measured")
        until(lambda: role(running, "postgres")["cpu_percent"] > 20, what="postgres is seen at work")
        connection.cancel_safe()
        query.join()
    until(lambda: max(worker["cpu_percent"] for worker in running.ready()) > 20, what="a worker is seen at work")
    running.open_gate()
    running.until_status(job, "succeeded")
    seen_bytes = role(running, "postgres")["rss_bytes"]
    assert seen_bytes < 2 * own_bytes, f"{own_bytes}: what its processes share is not added up"


def _count_long(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET statement_timeout = '60s'")
    try:
        connection.execute("SELECT count(*) FROM generate_series(1, 2000000000)")
    except psycopg.errors.QueryCanceled:
        return
