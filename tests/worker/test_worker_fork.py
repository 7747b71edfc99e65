"""Children of a template, in a process of their own that stands for it."""

from __future__ import annotations

import subprocess
import sys

FORK = """
import os, select, subprocess, sys
from workerctl.worker.fork import Origin, fork_child

ended = subprocess.Popen(["true"])
ended.wait()
alive, held = os.pipe()
fork_child({"fds": [os.dup(0), os.dup(1), os.dup(2)]}, Origin(ended.pid, (), []), lambda: print("it ran"))
os.close(held)
sys.exit(0 if select.select([alive], [], [], 5)[0] else "the child lives on")
"""


def test_a_child_whose_supervisor_was_killed_meanwhile_leaves_at_once_and_does_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
