"""Batch calls and jobs that may be handed back, with real workers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from lifecycle_house import CONFIG, House, until


def settled(house: House, jobs: list[int]) -> list[dict[str, Any]]:
    ended = ("succeeded", "dead", "cancelled")
    until(lambda: all(house.job(job)["status"] in ended for job in jobs), what="all are settled")
    return [house.job(job) for job in jobs]


def test_a_batch_call_settles_each_of_its_jobs_for_itself(running: House) -> None:
    began = time.monotonic()
    jobs = settled(running, running.enqueue_all("tally", [{"a": 1}, {"a": -1}, {"a": "many"}, {"a": 2}]))
    assert time.monotonic() - began < 5
    assert [job["status"] for job in jobs] == ["succeeded", "dead", "dead", "succeeded"]
    assert [job["result"] for job in jobs] == [{"of": 3}, None, None, {"of": 3}]
    assert jobs[1]["error"] == "negative"
    assert "$.a" in jobs[2]["error"]


def test_a_batch_gathers_for_its_time_and_not_longer(running: House) -> None:
    first = running.enqueue("tally", a=1)
    second = running.enqueue("tally", a=1)
    jobs = settled(running, [first, second])
    assert [job["result"] for job in jobs] == [{"of": 2}] * 2
    gathered = (jobs[0]["started_at"] - jobs[0]["created_at"]).total_seconds()
    assert 0.45 < gathered < 3


@pytest.mark.parametrize("kind", ["yielding", "yielding.thread"])
def test_a_job_that_may_be_handed_back_is_not_waited_for(house: House, kind: str) -> None:
    house.start(1)
    job = house.gated(kind)
    slow = house.gated("gated.thread")
    house.ok("restart", "default")
    until(lambda: len(house.noted("began", job)) == 2, 10, what="the successor has it")
    [old, new] = [line[3] for line in house.noted("began", job)]
    assert old != new
    assert house.job(slow)["status"] == "running", "the others are waited for"
    house.open_gate()
    ended = house.until_status(job, "succeeded")
    assert (ended["failures"], ended["deaths"], ended["attempt"]) == (0, 0, 2)
    assert house.until_status(slow, "succeeded")["attempt"] == 1


def test_jobs_that_a_quick_worker_took_ahead_do_not_wait_behind_its_slow_ones(build: Any) -> None:
    house = build(CONFIG + "concurrency = 2\n")
    house.start(2)
    house.ok("queue", "pause", "default")
    quick, file, gate = 300, str(house.effects), str(house.gate)
    jobs = house.enqueue_all("mark", [{"file": file}] * quick)
    slow = house.enqueue_all("gated", [{"file": file, "gate": gate}] * 3)  # of four seats
    jobs += house.enqueue_all("mark", [{"file": file}] * quick)
    house.ok("queue", "resume", "default")
    until(lambda: len(house.noted("mark")) == 2 * quick, what="the quick ones end while the slow ones run")
    assert sorted(int(line[1]) for line in house.noted("mark")) == jobs, "each ran once"
    assert sorted(int(line[1]) for line in house.noted("began")) == slow
    assert all(worker["jobs_running"] <= 2 for worker in house.workers())
    house.open_gate()
    for job in slow:
        assert house.until_status(job, "succeeded")["failures"] == 0


def test_cancelling_one_job_of_a_batch_call_ends_none_of_the_others(running: House, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    jobs = running.enqueue_all("sieve", [{"gate": str(gate)}] * 3)
    until(lambda: all(running.job(job)["status"] == "running" for job in jobs), what="the call has begun")
    other = running.gated("gated")
    running.ok("jobs", "cancel", jobs[0], other)
    running.until_status(other, "cancelled", 5)  # so that this worker, or its sibling, has heard of it
    running.ok("jobs", "cancel", jobs[1])
    gate.touch()
    assert [job["status"] for job in settled(running, jobs)] == ["succeeded"] * 3


def test_a_batch_call_is_stopped_once_all_of_its_jobs_are_cancelled(running: House, tmp_path: Path) -> None:
    jobs = running.enqueue_all("sieve", [{"gate": str(tmp_path / "never")}] * 2)
    until(lambda: all(running.job(job)["status"] == "running" for job in jobs), what="the call has begun")
    for job in jobs:
        running.ok("jobs", "cancel", job)
    assert [job["status"] for job in settled(running, jobs)] == ["cancelled"] * 2
