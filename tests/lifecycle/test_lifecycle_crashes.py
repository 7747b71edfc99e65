"""Processes that are killed: what is lost (nothing), how often a job runs, and what is said afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable

import psutil
import psycopg
from lifecycle_house import CONFIG, House, until


def kill(pid: int | None) -> int:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def began_at(house: House, job: int, attempt: int) -> float:
    [at] = [float(line[4]) for line in house.noted("began", job) if int(line[2]) == attempt]
    return at


def test_a_job_whose_worker_is_killed_runs_again_elsewhere_and_ends_once(running: House) -> None:
    job = running.gated()
    [[_, _, _, pid, _]] = running.noted("began", job)
    killed_at = time.time()
    kill(int(pid))
    until(lambda: len(running.noted("began", job)) == 2, 5, what="the job runs again")
    assert began_at(running, job, 2) - killed_at < 1.0
    running.open_gate()
    ended = running.until_status(job, "succeeded")
    assert (ended["attempt"], ended["deaths"], ended["failures"]) == (2, 1, 0)
    [[_, _, attempt, other, _]] = running.noted("ended", job)
    assert attempt == "2"
    assert other != pid
    running.until_ready(2)


def test_why_tells_signal_job_in_hand_and_last_words(running: House) -> None:
    job = running.enqueue("suicide", times=1, file=str(running.effects))
    assert running.until_status(job, "succeeded")["deaths"] == 1
    pid = int(running.noted("began", job)[0][3])
    [end] = until(lambda: [end for end in running.exits() if end["pid"] == pid])
    assert (end["cause"], end["signal"]) == ("crash", 9)
    told = running.ok("why", f"default/{end['slot']}")
    assert "signal 9" in told
    assert f"the latest, pid {pid}:" in told and "its last lines:" in told
    assert "suicide attempt 1" in told
    assert "crash (signal 9)" in running.ok("status")
    until(lambda: len(running.ready()) == 2)


def test_a_job_that_kills_every_worker_is_given_up_after_three_deaths(build: Callable[..., House]) -> None:
    house = build(CONFIG)
    house.start(2)
    job = house.enqueue("suicide", times=99, file=str(house.effects))
    ended = house.until_status(job, "dead")
    assert ended["deaths"] == 3
    assert "its worker died 3 times" in ended["error"]
    assert len(house.noted("began", job)) == 3
    assert house.enqueue("add", a=1)
    house.until_ready(2)


def test_memory_over_the_limit_brings_a_successor_and_the_exit_says_so(build: Callable[..., House]) -> None:
    house = build(CONFIG + '[supervisor]\nmax_memory = "120MB"\n')
    house.start(1)
    [worker] = house.ready()
    job = house.gated()
    house.until_status(house.enqueue("fatten", mebibytes=120), "succeeded")
    until(lambda: any(other["pid"] != worker["pid"] for other in house.ready()), 20, what="a successor is ready")
    assert psutil.pid_exists(worker["pid"])  # its job is not done
    house.open_gate()
    house.until_status(job, "succeeded")
    [end] = until(lambda: [end for end in house.exits() if end["pid"] == worker["pid"]])
    assert (end["cause"], end["exit_code"]) == ("memory-soft", 0)
    assert house.job(job)["attempt"] == 1


def roles(house: House) -> dict[str, Callable[[], int | None]]:
    def postmaster() -> int | None:
        return house.role("postgres")

    return {
        "agent": lambda: house.role("agent"),
        "template": lambda: house.role("template"),
        "collector": lambda: house.role("collector"),
        "postgres": postmaster,
        "worker": lambda: house.ready()[0]["pid"] if house.ready() else None,
    }


def test_whatever_is_killed_two_hundred_jobs_are_all_done(house: House) -> None:
    house.start(2)
    house.enqueue_all("mark", [{"file": str(house.effects), "seconds": 0.1}] * 200)
    for name, find in roles(house).items():
        before = len(house.noted("mark"))
        victim = kill(until(find, what=f"{name} is there"))
        until(lambda find=find, victim=victim: find() not in (None, victim), what=f"{name} is back")
        until(lambda before=before: len(house.noted("mark")) > min(before, 199), what=f"jobs go on without {name}")
    with contextlib.suppress(psycopg.OperationalError):
        until(lambda: _open_jobs(house) == 0, 40, what="all are done")
    with house.database() as connection:
        rows = connection.execute(
            "SELECT status::text, count(*) FROM workerctl.job WHERE kind = 'mark' GROUP BY status"
        ).fetchall()
    assert rows == [("succeeded", 200)]
    runs = Counter(line[1] for line in house.noted("mark"))
    assert len(runs) == 200
    assert max(runs.values()) <= 3
    house.until_ready(2)
    assert house.status()["supervisor"]["state"] == "running"


def _open_jobs(house: House) -> int:
    with house.database() as connection:
        row = connection.execute("SELECT count(*) FROM workerctl.live").fetchone()
    assert row is not None
    return int(row[0])


def test_jobs_enqueued_while_the_agent_is_dead_are_found(house: House) -> None:
    house.start(1)
    kill(until(lambda: house.role("agent")))
    job = house.enqueue("add", a=1)
    house.until_status(job, "succeeded", 10)
    until(lambda: house.role("agent"))
    began = time.monotonic()
    house.until_status(house.enqueue("add", a=1), "succeeded", 10)
    assert time.monotonic() - began < 2


def test_after_a_killed_supervisor_the_workers_finish_and_leave(house: House) -> None:
    house.start(2)
    job = house.gated()
    house.kill_supervisor()
    house.command_seconds = 15
    until(lambda: not house.is_running())
    assert "no supervisor runs" in house.fails(4, "status")
    house.open_gate()
    until(lambda: not house.titled("worker") + house.titled("template") + house.titled("agent"), 10, what="they leave")
    house.start(2)
    ended = house.until_status(job, "succeeded")
    assert (ended["attempt"], ended["deaths"]) == (1, 0)
    assert len(house.noted("ended", job)) == 1


def test_a_start_after_a_killed_supervisor_waits_for_the_old_set_and_gives_its_jobs_back(
    build: Callable[..., House],
) -> None:
    house = build(CONFIG + '[supervisor]\nstop_timeout = "3s"\n')
    house.start(2)
    done = house.until_status(house.enqueue("add", a=1), "succeeded")
    job = house.gated("gated.thread")
    old = {worker["pid"] for worker in house.workers()}
    house.kill_supervisor()
    house.command_seconds = 15
    house.start(2)
    assert not [process for process in house.left_over() if process.pid in old]
    until(lambda: len(house.noted("began", job)) == 2, 1.5, what="the job is given back at once")
    house.open_gate()
    assert house.until_status(job, "succeeded")["attempt"] == 2
    assert house.job(done["id"])["status"] == "succeeded"
    with house.database() as connection:
        rows = connection.execute("SELECT pid FROM workerctl.worker").fetchall()
    assert {pid for (pid,) in rows} == {worker["pid"] for worker in house.workers()}


def test_everything_killed_at_once_comes_back_with_the_next_start(house: House) -> None:
    house.start(2)
    job = house.gated()
    for process in [psutil.Process(house.supervisor_pid), *house.left_over()]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    house.assert_nothing_runs()
    house.start(2)
    until(lambda: len(house.noted("began", job)) == 2, 1.5, what="the job is given back at once")
    house.open_gate()
    assert house.until_status(job, "succeeded")["attempt"] == 2
