"""Jobs that are cancelled, and jobs over their time, against one running supervisor."""

from __future__ import annotations

import time

from lifecycle_house import House, until


def cancelled_within(house: House, job: int) -> float:
    house.ok("jobs", "cancel", job)
    began = time.monotonic()
    house.until_status(job, "cancelled", 5)
    return time.monotonic() - began


def test_a_running_task_is_cancelled_within_about_a_second(running: House) -> None:
    job = running.gated()
    assert cancelled_within(running, job) < 4  # a second, on a machine that is not held up
    assert len(running.noted("cancelled", job)) == 1
    assert running.job(job)["error"] == "cancelled by request"


def test_a_thread_that_polls_is_cancelled_within_about_a_second(running: House) -> None:
    job = running.enqueue("polling", file=str(running.effects))
    until(lambda: running.noted("began", job))
    assert cancelled_within(running, job) < 4  # a second, on a machine that is not held up


def test_a_pending_job_is_cancelled_at_once_and_an_ended_one_not(running: House) -> None:
    job = int(running.ok("enqueue", "add", "a=1", "--in", "1h"))
    running.ok("jobs", "cancel", job)
    assert running.job(job)["status"] == "cancelled"
    assert "have ended" in running.fails(1, "jobs", "cancel", job)


def test_a_task_that_had_no_turn_yet_can_be_cancelled(running: House) -> None:
    with running.database() as connection:
        connection.execute("SELECT 1")
    blocker = running.gated("blocks.the.loop")
    others = running.enqueue_all("gated", [{"file": str(running.effects), "gate": str(running.gate)}] * 15)
    until(lambda: all(running.job(job)["status"] == "running" for job in others), what="all are claimed")
    running.ok("jobs", "cancel", *others)
    running.open_gate()
    running.until_status(blocker, "succeeded")
    for job in others:
        until(lambda job=job: running.job(job)["status"] in ("cancelled", "succeeded"), 5, what=f"job {job} ends")


def test_a_task_over_its_time_is_settled_as_timed_out(running: House) -> None:
    pids = {worker["pid"] for worker in running.workers()}
    job = running.until_status(running.enqueue("overlong.task"), "dead", 5)
    assert job["error"] == "timed out after 0.5 s"
    assert {worker["pid"] for worker in running.workers()} == pids


def test_a_thread_over_its_time_is_settled_as_timed_out_and_its_worker_replaced(running: House) -> None:
    job = running.enqueue("overlong.thread", file=str(running.effects))
    assert running.until_status(job, "dead", 5)["error"] == "timed out after 0.5 s"
    [[_, _, _, pid, _]] = running.noted("began", job)
    until(lambda: int(pid) not in [worker["pid"] for worker in running.ready()], 10, what="the worker is replaced")
    running.until_ready(2)
    [end] = [end for end in running.exits() if end["pid"] == int(pid)]
    assert (end["exit_code"], end["asked_by"]) == (0, None)
    assert end["message"] == f"overlong.thread of job {job} overran its timeout and cannot be stopped"
