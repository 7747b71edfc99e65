"""What the jobs in hand are told of their worker's death, read from the log that the collector keeps."""

from __future__ import annotations

from pathlib import Path

from workerctl.supervisor.last_words import words_of_death
from workerctl.supervisor.roster import Lost
from workerctl.supervisor.states import Cause

STACK = [
    "Thread 0x00007f (most recent call first):",
    '  File "a.py", line 3 in spin',
    "",
    "Current thread 0x1:",
    '  File "b"',
]


def log(home: Path, *lines: str, serial: int = 7) -> None:
    (home / "logs").mkdir(exist_ok=True)
    with (home / "logs" / "default-2.err.log").open("a") as file:
        file.writelines(f"2026-01-02T03:04:05.000006Z {n} {serial} {line}\n" for n, line in enumerate(lines))


def test_a_hung_worker_says_where_all_its_threads_were(tmp_path: Path) -> None:
    log(tmp_path, "ordinary words", *STACK)
    log(tmp_path, "of its successor", serial=8)
    lost = Lost("node.boot.7", Cause.HUNG, 1, 0.0, ("default", 2, 7), "was killed by signal 9")
    told = words_of_death(tmp_path, lost).splitlines()
    assert told == ["hung, was killed by signal 9", *[line for line in STACK if line]]


def test_a_death_without_stacks_or_without_a_log_says_how_it_ended(tmp_path: Path) -> None:
    lost = Lost("node.boot.7", Cause.CRASH, 1, 0.0, ("default", 2, 7), "ended with exit code 3")
    assert words_of_death(tmp_path, lost) == "crash, ended with exit code 3"
    log(tmp_path, "ordinary words")
    assert words_of_death(tmp_path, lost) == "crash, ended with exit code 3"


def test_the_words_are_bounded(tmp_path: Path) -> None:
    log(tmp_path, *STACK, *["x" * 400] * 50)
    lost = Lost("node.boot.7", Cause.HUNG, 1, 0.0, ("default", 2, 7), "was killed by signal 9")
    assert len(words_of_death(tmp_path, lost)) <= 4000
