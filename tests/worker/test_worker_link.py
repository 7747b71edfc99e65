"""A worker's link to the queue across what a server loses when it goes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from workerctl import job
from workerctl.broker.exchange import Request
from workerctl.broker.fleet import KnownKind, Registration
from workerctl.broker.found import Database
from workerctl.broker.jobs import show_job
from workerctl.broker.surroundings import Surroundings
from workerctl.producer import enqueue
from workerctl.settings import load
from workerctl.worker.identity import Identity
from workerctl.worker.link import Link
from workerctl.worker.seats import Seats


@job("settled.once")
def settle_me(payload: dict[str, int]) -> None:
    pass


def link_of(database_url: str, incarnation: str) -> Link:
    me = Registration(incarnation, "n1", "host", "default", 1, 1, None, [], 30)
    return Link(Database(database_url, database_url), me, [KnownKind("a", "default", 3, 1)], float)


def test_a_worker_whose_row_was_lost_in_a_failover_takes_no_other_ones_place(
    queue: psycopg.Connection[Any], database_url: str
) -> None:
    links = {name: link_of(database_url, name) for name in ("n1.1", "n1.2")}
    for link in links.values():
        link.try_connect(0.0)
    queue.execute("DELETE FROM workerctl.worker")  # the standby that was promoted had not heard of them,
    queue.execute("ALTER SEQUENCE workerctl.worker_id_seq RESTART")  # nor of their ids
    for link in links.values():
        link.lost(0.0, psycopg.OperationalError("the connection is lost"))
    for link in reversed(links.values()):
        assert link.try_connect(1e9) == set()
    job_ids = {enqueue("a", conn=queue) for _ in links}
    for link in links.values():
        reply = link.exchange(Request(want=1), 0.0)
        assert reply is not None
        assert reply.claimed
    held = "SELECT w.incarnation, l.id FROM workerctl.live l JOIN workerctl.worker w ON w.id = l.worker_id"
    rows = queue.execute(held).fetchall()
    assert {name for name, _ in rows} == set(links), "each holds its own, so that its death gives it back"
    assert {job_id for _, job_id in rows} == job_ids
    for link in links.values():
        link.leave()


def test_a_pooled_worker_finds_what_a_failover_behind_its_pooler_took_back(
    queue: psycopg.Connection[Any], database_url: str, tmp_path: Path
) -> None:
    settings = load(None, None, {}, tmp_path).settings
    settings = msgspec.structs.replace(settings, jobs=msgspec.structs.replace(settings.jobs, lease_seconds=1.0))
    around = Surroundings(settings, tmp_path, "n", "host", Database(database_url, database_url, pooled=True))
    seats = Seats(Identity(1, "n.1", "default", 1, None), around)
    seats.turn(time.monotonic())
    dialled = seats.link.dialled
    with queue.transaction():  # as it is once the server has lost the settlement, but not the claim
        job_id = enqueue("settled.once", conn=queue)
        queue.execute(
            "UPDATE workerctl.live SET status = 'running', attempt = 1, started_at = now(),"
            " worker_id = (SELECT id FROM workerctl.worker) WHERE id = %s",
            [job_id],
        )
    deadline = time.monotonic() + 10
    while show_job(queue, job_id)["status"] != "succeeded":
        assert time.monotonic() < deadline, show_job(queue, job_id)
        seats.turn(time.monotonic())
    assert show_job(queue, job_id)["attempt"] == 2
    assert seats.link.dialled == dialled, "nobody told it"
    seats.leave()
    seats.runner.close()
