"""The supervisor's own log: bounded, whole lines, no secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from workerctl.supervisor.composition import Group
from workerctl.supervisor.events import ReloadBegan
from workerctl.supervisor.journal import Journal

BACKGROUND = """
import sys
from pathlib import Path
from workerctl.supervisor.journal import Journal
journal = Journal(Path(sys.argv[1]), foreground=False, limit_bytes=5000)
for number in range(500):
    journal.say("Counted", number=number)
"""


def test_the_log_is_rotated_and_no_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.log"
    journal = Journal(path, foreground=True, limit_bytes=5000)
    for number in range(500):
        journal.say("Counted", number=number)
    journal.close()
    check(path)


def test_in_the_background_the_log_that_is_our_standard_error_is_rotated_too(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.log"
    with path.open("ab") as log:
        subprocess.run([sys.executable, "-c", BACKGROUND, str(path)], stderr=log, check=True)
    check(path)


def check(path: Path) -> None:
    newest, older = path.read_text().splitlines(), path.with_suffix(".log.1").read_text().splitlines()
    numbers = [int(line.rpartition("=")[2]) for line in older + newest]
    assert numbers == list(range(numbers[0], 500))
    assert 5000 < path.with_suffix(".log.1").stat().st_size < 6000
    assert sorted(each.name for each in path.parent.iterdir()) == ["supervisor.log", "supervisor.log.1"]


def test_a_reload_writes_names_and_no_environment(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.log"
    journal = Journal(path, foreground=True)
    group = Group("default", "pool", template="template:2", env={"KEY": "hunter2"})
    journal.record(ReloadBegan(0.0, 2, "/srv", {"template:2": group}, {"default": group}, {}))
    journal.close()
    text = path.read_text()
    assert "templates=template:2 pools=default" in text and "hunter2" not in text
