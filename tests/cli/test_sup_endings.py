"""What `why` tells of one end, from a record as the supervisor writes it."""

from __future__ import annotations

from typing import Any

import pytest

from workerctl.cli.endings import asked_by, ending, exits_table, growth, memory

RECORD: dict[str, Any] = {
    "at": "2026-01-02T03:04:05.000000Z",
    "group": "default",
    "slot": 2,
    "serial": 9,
    "pid": 4711,
    "cause": "memory-hard",
    "exit_code": None,
    "signal": 9,
    "asked_by": None,
    "uptime_seconds": 61.2,
    "rss_bytes": 400 << 20,
    "memory_limit_bytes": 300 << 20,
    "memory_curve_mb": [35, 40, 120, 400],
    "memory_period_seconds": 2.0,
    "jobs_in_hand": 1,
    "jobs": [{"id": 12, "kind": "image.generate", "seconds": 3.2}],
    "message": "",
}


def name_of(uid: int) -> str:
    return {0: "root"}[uid]


def test_an_end_is_told_with_cause_signal_memory_and_jobs() -> None:
    text = ending(RECORD, name_of)
    assert "memory-hard, signal 9 after 1m 1s" in text
    assert "▁▁▃█ 35 to 400 MB in 8s, 400 MB at last, limit 300 MB" in text
    assert "12 image.generate for 3s" in text
    assert "asked by" not in text and "last words" not in text


def test_jobs_that_no_heartbeat_named_are_counted() -> None:
    assert "12 image.generate for 3s\n            2 more" in ending(RECORD | {"jobs_in_hand": 3}, name_of)
    assert "2, not named" in ending(RECORD | {"jobs_in_hand": 2, "jobs": []}, name_of)
    idle = RECORD | {"jobs_in_hand": 0, "jobs": [], "heard_seconds_ago": 0.2}
    assert "none in hand 200ms before, when it was last heard" in ending(idle, name_of)
    assert ending(idle | {"exit_code": 0, "signal": None}, name_of).endswith("none in hand")


def test_of_an_app_no_jobs_are_told() -> None:
    app = RECORD | {"incarnation": None, "jobs_in_hand": 0, "jobs": [], "heard_seconds_ago": 0.2}
    assert "in hand" not in ending(app, name_of)


def test_who_asked_is_named_with_uid_pid_command_line_and_reason() -> None:
    asker = {
        "command": "scale pool=default to=2",
        "uid": 0,
        "pid": 77,
        "command_line": "workerctl scale 2",
        "reason": "x",
    }
    told = "scale pool=default to=2, by root (uid 0), pid 77: workerctl scale 2; reason: x"
    assert asked_by(asker, name_of) == told
    assert told in ending(RECORD | {"asked_by": asker}, name_of)
    assert asked_by({"command": "SIGTERM"}, name_of) == "SIGTERM"


def test_the_kinds_that_a_worker_grew_with_are_told_the_most_first() -> None:
    told = [[{"kind": "a", "jobs": 2, "bytes": 3 << 20}, {"kind": "b", "jobs": 9, "bytes": 1000}],
            [{"kind": "c", "jobs": 1, "bytes": 9 << 20}, {"kind": "a", "jobs": 1, "bytes": 1 << 20}]]  # fmt: skip
    assert growth(told) == ["9MB with c in hand (1 jobs)", "4MB with a in hand (3 jobs)"]
    assert "3MB with a in hand" in ending(RECORD | {"growth": told[0]}, name_of)


@pytest.mark.parametrize("curve", [[], None])
def test_a_process_that_ended_before_its_first_sample_says_so(curve: list[int] | None) -> None:
    assert memory(RECORD | {"memory_curve_mb": curve}) == "not measured: it ended before its first sample"


def test_a_flat_curve_and_a_record_of_an_earlier_version_are_told_too() -> None:
    assert "▁▁▁ 50 to 50 MB in 6s" in memory(RECORD | {"memory_curve_mb": [50, 50, 50]})
    old = {name: RECORD[name] for name in ("at", "group", "slot", "cause", "exit_code", "signal")}
    assert "memory-hard" in exits_table([old]) and "none in hand" in ending(old, name_of)


def test_of_an_end_that_nobody_saw_nothing_is_said_but_why() -> None:
    unseen = {name: RECORD[name] for name in ("at", "group", "slot", "serial", "pid")}
    text = ending(unseen | {"cause": "parent-lost", "exit_code": None, "signal": None}, name_of)
    assert text == "cause       parent-lost; its supervisor had been killed: nobody saw how, or with what in hand"
