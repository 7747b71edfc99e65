"""`top` for real: in a terminal of 80 x 24, resized, quit with q and with Ctrl-C; into a pipe one frame."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from workerctl.cli.plain import width

WORKERCTL = Path(sys.executable).with_name("workerctl")


def test_into_a_pipe_one_frame_is_printed(running, command):
    done = command(running, "top")
    lines = done.stdout.splitlines()
    assert "2/2 workers ready" in lines[0]
    assert sum(line.startswith("default ") for line in lines) >= 2
    assert "\x1b" not in done.stdout


def test_where_nothing_runs_it_says_so_with_its_own_exit_code(project, command):
    done = command(project, "top", check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (4, 1)


@pytest.mark.parametrize("key", ["q", "Q", "C-c"])
def test_it_shows_workers_and_leaves_when_asked(running, terminal, key):
    screen = terminal(running, "top")
    shown = screen.until("q quits")
    assert "2/2 workers ready" in shown
    assert len(shown.rstrip("\n").splitlines()) <= 24
    screen.type(key)
    screen.until_closed()


def test_running_jobs_queues_and_chinese_lines_are_on_it(running, terminal, command):
    gate = running / "gate"
    command(running, "enqueue", "gated", f"gate={gate}")
    command(running, "enqueue", "greet", "name=你好世界", "--wait")
    screen = terminal(running, "top")
    try:
        screen.until("hello 你好世界")
        shown = screen.until("gated")  # told by the next heartbeat
        assert "queue" in shown
    finally:
        gate.touch()


def test_it_follows_the_size_of_the_terminal(running, terminal, command):
    command(running, "enqueue", "greet", f"name={80 * '.'}the end of a long line", "--wait")
    screen = terminal(running, "top")
    screen.until("q quits")
    assert "the end of a long line" not in screen.screen()
    screen.resize(140, 40)
    wide = screen.until("the end of a long line")
    assert "workers ready" in wide
    screen.resize(60, 16)
    narrow = screen.until("workers ready")  # the headline was scrolled away, and is drawn again
    assert len(narrow.rstrip("\n").splitlines()) <= 16


def test_it_waits_for_a_supervisor_that_left(project, terminal, command):
    command(project, "start")
    screen = terminal(project, "top")
    screen.until("q quits")
    command(project, "stop")
    screen.until("waiting (q quits): no supervisor runs")
    screen.type("q")
    screen.until_closed()


def test_in_a_narrow_terminal_the_status_keeps_what_matters_on_one_line_each(running, terminal):
    screen = terminal(running, "status --watch", columns=60)
    lines = screen.until("agent").splitlines()
    headings = next(line for line in lines if line.startswith("name"))
    assert headings.split() == ["name", "slot", "pid", "phase", "restarts", "memory", "running"]
    assert sum(line.startswith("default ") for line in lines) == 2
    assert not [line for line in lines if line.startswith(" ")], "a line was wrapped"
    for part in (", up ", "2/2 workers ready", " cores, 0 reserved, primary"):
        assert sum(part in line for line in lines) == 1, f"{part!r} is on one line, not on two"
    screen.resize(160, 24)
    assert "last exit" in screen.until("release")


@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_of_a_list_is_wider_than_the_terminal(running, command, columns):
    command(running, "enqueue", "greet", "name=你好世界", "--wait")
    lists = ("status", "status --fleet", "nodes", "jobs list", "jobs stats", "queue list", "limits list --seats",
             "schedule list", "spend", "spend --unresolved")  # fmt: skip
    for words in lists:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        subprocess.run([WORKERCTL, *words.split()], cwd=running, stdout=theirs, check=True, timeout=60)
        os.close(theirs)
        lines = re.sub("\x1b[^m]*m", "", os.read(ours, 65536).decode()).splitlines()
        os.close(ours)
        assert lines, words
        assert [line for line in lines if width(line) > columns] == [], words


def test_the_progress_of_a_start_stays_on_one_line_of_a_narrow_terminal(project):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 30, 0, 0))
    subprocess.run([WORKERCTL, "start"], cwd=project, stdout=subprocess.DEVNULL, stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    steps = os.read(ours, 65536).decode().split("\r\x1b[K")
    os.close(ours)
    assert any(step.startswith("starting: 0/2 workers") for step in steps)
    assert all(len(step) < 30 for step in steps if step.startswith("starting"))
