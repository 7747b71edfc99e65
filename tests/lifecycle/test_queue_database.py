"""A database that restarts under running handlers, and one that has no connection to give."""

from __future__ import annotations

import os
import signal
import time

import psycopg
from lifecycle_house import House, until

from workerctl.broker.embedded import plan_server
from workerctl.contract import HEARTBEAT_SECONDS


def state(house: House) -> str:
    return str(house.status()["supervisor"]["state"])


def processes(house: House) -> list[tuple[int, int]]:
    return [(worker["pid"], worker["restarts"]) for worker in house.workers()]


def test_handlers_in_flight_go_on_through_a_restart_of_the_database_and_settle_afterwards(house: House) -> None:
    house.start(2)
    jobs = [house.gated(), house.gated("gated.thread")]
    before = processes(house)
    postmaster = until(lambda: house.role("postgres"))
    os.kill(postmaster, signal.SIGKILL)
    until(lambda: house.role("postgres") not in (None, postmaster), what="the database is back")
    house.open_gate()
    for job in jobs:
        ended = house.until_status(job, "succeeded")
        assert (ended["attempt"], ended["deaths"], ended["failures"]) == (1, 0, 0)
        assert len(house.noted("began", job)) == 1
    assert processes(house) == before, "no worker was replaced"


def test_a_database_that_takes_no_writes_as_after_a_failover_is_waited_for(house: House) -> None:
    house.start(2)
    jobs = [house.gated(), house.gated("gated.thread")]
    before = processes(house)
    with psycopg.connect(plan_server(house.home).superuser_url, autocommit=True) as root:
        root.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        root.execute("SELECT pg_reload_conf()")
        until(lambda: state(house) == "waiting for database", what="status says what it waits for")
        house.open_gate()
        for job in jobs:
            until(lambda job=job: house.noted("ended", job), what="the handler goes on")
        assert "read-only" in house.fails(69, "enqueue", "add", "a=1")
        root.execute("SET default_transaction_read_only = off")
        root.execute("ALTER SYSTEM RESET default_transaction_read_only")
        root.execute("SELECT pg_reload_conf()")
    for job in jobs:
        assert house.until_status(job, "succeeded")["attempt"] == 1, "what had been done counts"
    house.until_status(house.enqueue("add", a=1), "succeeded")
    assert processes(house) == before, "no worker was replaced"


def test_workers_wait_for_connections_that_the_database_does_not_give(house: House) -> None:
    house.start(1)
    job = house.gated()
    before = processes(house)
    with psycopg.connect(plan_server(house.home).superuser_url, autocommit=True) as root:
        until(lambda: time.monotonic() % HEARTBEAT_SECONDS < 0.5, what="everybody has just sent a heartbeat")
        root.execute("ALTER ROLE workerctl CONNECTION LIMIT 0")
        root.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'workerctl'")
        until(
            lambda: state(house) == "waiting for database", HEARTBEAT_SECONDS - 1, what="status says so before the next"
        )
        house.open_gate()
        until(lambda: house.noted("ended", job), what="the handler goes on")
        assert processes(house) == before, "no crash budget is spent"
        root.execute("ALTER ROLE workerctl CONNECTION LIMIT -1")
    assert house.until_status(job, "succeeded")["attempt"] == 1
    house.until_status(house.enqueue("add", a=1), "succeeded")
    until(lambda: state(house) == "running", what="it runs again")
    assert processes(house) == before


def test_idle_workers_hear_at_once_that_the_database_went_and_so_do_those_who_start_meanwhile(house: House) -> None:
    house.start(2)
    with psycopg.connect(plan_server(house.home).superuser_url, autocommit=True) as root:
        idle = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'workerctl worker' AND state = 'idle' "
            "AND now() - query_start < interval '1 s'"
        )
        until(lambda: root.execute(idle).fetchone() == (2,), what="both have just said all there is to say")
        root.execute("ALTER ROLE workerctl CONNECTION LIMIT 0")
        root.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'workerctl'")
        until(lambda: state(house) == "waiting for database", HEARTBEAT_SECONDS - 1.5, what="they need not be asked")
        for pid, _ in processes(house):
            os.kill(pid, signal.SIGKILL)
        until(lambda: [restarts for _, restarts in processes(house)] == [1, 1], what="both have a successor")
        until(lambda: state(house) == "waiting for database", 10, what="who cannot begin for want of it says so")
        root.execute("ALTER ROLE workerctl CONNECTION LIMIT -1")
    until(lambda: state(house) == "running", what="it runs again")
