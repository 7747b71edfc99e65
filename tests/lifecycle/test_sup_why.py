"""What `why` tells of real workers: memory, the job in hand, who asked."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from lifecycle_house import House, until


def test_a_killed_worker_is_told_with_its_memory_and_the_job_in_hand(running: House) -> None:
    job = running.gated()
    seat = until(lambda: [each for each in running.ready() if each["jobs"] and each["rss_bytes"]])[0]
    os.kill(seat["pid"], signal.SIGKILL)
    until(lambda: any(end["pid"] == seat["pid"] for end in running.exits()))
    document = running.json("why", f"default/{seat['slot']}")
    end = document["exits"][-1]
    assert (end["cause"], end["signal"], end["exit_code"]) == ("crash", 9, None)
    assert [(each["id"], each["kind"]) for each in end["jobs"]] == [(job, "gated")]
    assert min(end["memory_curve_mb"]) > 5 and end["memory_limit_bytes"] == 500 << 20
    assert end["memory_period_seconds"] == 2.0
    told = running.ok("why", f"default/{seat['slot']}")
    assert f"{job} gated for" in told and "limit 500 MB" in told
    running.open_gate()
    running.until_status(job, "succeeded")
    running.until_ready(2)


def test_why_names_who_asked_and_the_log_has_the_line(running: House) -> None:
    before = len(running.exits())
    running.ok("restart", "default", "--reason", "new weights")
    until(lambda: len(running.exits()) == before + 2)
    running.until_ready(2)
    asker = running.json("why", "default")["exits"][-1]["asked_by"]
    assert asker["command"] == "restart name=default"
    assert (asker["uid"], asker["reason"]) == (os.getuid(), "new weights")
    assert "restart default" in asker["command_line"] and asker["user"]
    assert "; reason: new weights" in running.ok("why", "default")
    [line] = [line for line in running.log().splitlines() if 'command="restart name=default"' in line]
    assert f"uid={os.getuid()}" in line and 'reason="new weights"' in line


def test_every_change_of_the_queue_leaves_an_audit_line_with_who_made_it(running: House) -> None:
    job = running.enqueue("fail")
    running.until_status(job, "dead")
    changes = [("queue", "pause", "q"), ("queue", "resume", "q"), ("limits", "set", "q", "3"), ("limits", "reset", "q"),
               ("jobs", "retry", str(job))]  # fmt: skip
    for change in changes:
        running.ok(*change)
        words = " ".join(change)
        [line] = [line for line in running.log().splitlines() if f'command="noted change={words}"' in line]
        assert " event Command " in line and f"uid={os.getuid()} pid=" in line and f'workerctl {words}"' in line


@pytest.mark.long  # 15 s without a heartbeat are a hang
def test_a_worker_that_hangs_in_c_says_where_to_why_and_to_its_job(build: Callable[..., House]) -> None:
    house = build()
    house.start(1)
    job = house.enqueue("hangs.in.c", file=str(house.effects))
    error = until(lambda: house.job(job)["error"], 60, what="the job has an error")
    assert error.startswith("the worker died with this job in hand: hung, was killed by signal 9")
    assert "in hangs_in_c" in error and "most recent call first" in error
    assert "in hangs_in_c" in house.ok("why", "default/1")
    assert house.exits()[0]["cause"] == "hung"
    assert "in hangs_in_c" in house.ok("jobs", "show", job)
    house.ok("jobs", "cancel", job)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells what a process blocks")
def test_nothing_that_runs_inherits_the_signals_that_the_supervisor_reads(running: House) -> None:
    read = sum(1 << (number - 1) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    masks = {}
    for process in running.left_over():
        with contextlib.suppress(FileNotFoundError):
            [line] = re.findall(r"SigBlk:\s(\w+)", Path(f"/proc/{process.pid}/status").read_text())
            masks[process.pid] = int(line, 16) & read
    assert masks.pop(running.supervisor_pid) == read
    assert running.role("postgres") in masks and len(masks) >= 8, "PostgreSQL, template and spare, agent, workers ..."
    assert not any(masks.values()), masks


def test_why_says_that_a_worker_was_ended_from_outside(running: House) -> None:
    seat = running.ready()[0]
    os.kill(seat["pid"], signal.SIGTERM)
    until(lambda: any(end["pid"] == seat["pid"] for end in running.exits()))
    told = running.ok("why", f"default/{seat['slot']}")
    assert "asked by    SIGTERM that workerctl did not send" in told
    running.until_ready(2)
