"""docs/jobs.md: what it has a newcomer type works, in an empty folder, from first to last (5 s: initdb and a start)."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"
Type = Callable[[str], str]


@pytest.fixture
def type_(short_home: Path) -> Iterator[Type]:
    """Types a line in an empty folder that is a project's, and returns what is printed; ends what it started."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(line: str, check: bool = True) -> str:
        words = shlex.split(line, comments=True)
        return subprocess.run(
            words, cwd=short_home, env=os.environ | {"PATH": programs}, check=check, text=True, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ).stdout  # fmt: skip

    yield run
    run("workerctl stop --now", check=False)


def test_a_newcomers_first_lines_lead_to_a_job_that_has_run(type_: Type) -> None:
    [block] = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    said = {line: type_(line.removeprefix("$ ")) for line in block.splitlines()}
    started = [text for line, text in said.items() if "start" in line]
    assert "ready" in started[0]
    shown = said["$ workerctl jobs show 1                    # its result, its log, or why it waits"]
    assert re.search(r"status +succeeded", shown)
    assert "greetings/world.txt" in shown
    assert "greeting.say" in said["$ workerctl jobs list"]
    assert type_("python -m pytest -q test_greeting_say_job.py").count("passed") == 1
