"""Children of a template, in a process of their own that stands for it."""

from __future__ import annotations

import subprocess
import sys

FORK = """
import os, select, subprocess, sys
from workerctl.worker.fork import Origin, Wanted, fork_children

ended = subprocess.Popen(["true"])
ended.wait()
alive, held = os.pipe()
wanted = Wanted([os.dup(0), os.dup(1), os.dup(2)], lambda: print("it ran"))
list(fork_children([wanted], Origin(ended.pid, (), [])))
os.close(held)
sys.exit(0 if select.select([alive], [], [], 5)[0] else "the child lives on")
"""

TOGETHER = """
import os, sys
from workerctl.supervisor.processes import become_subreaper
from workerctl.worker.fork import Origin, Wanted, fork_children

def wanted(write_end):
    tell = lambda: sys.stdout.write(f"{len(os.listdir('/dev/fd'))} ")  # whole, which print() with its line end is not
    return Wanted([os.open("/dev/null", os.O_RDWR), write_end, os.dup(2)], tell)

become_subreaper()
read_end, write_end = os.pipe()
children = [wanted(os.dup(write_end)) for _ in range(5)]
origin = Origin(os.getpid(), (read_end, write_end), [])
pids = list(fork_children(children, origin))
for pid in (*origin.intermediates, *pids):
    os.waitpid(pid, 0)
print(len(set(pids)), set(os.read(read_end, 99).split()))
"""


def test_a_child_whose_supervisor_was_killed_meanwhile_leaves_at_once_and_does_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_children_forked_together_have_nothing_of_each_other() -> None:
    done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True, timeout=60, check=False)
    each = {b"5"}  # the three streams, its channel, and the listing itself
    assert (done.stdout, done.stderr) == (f"5 {each}\n", "")
