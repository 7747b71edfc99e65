"""When a collector leaves, and what it is as a process."""

import signal
import subprocess
import sys
from pathlib import Path

from logs_writers import texts


def test_term_waits_for_the_last_stream_and_then_leaves(collect, pipe, tmp_path, wait_until):
    collector = collect()
    collector.follow(pipe)
    pipe.write(b"one\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["one"])
    collector.process.send_signal(signal.SIGTERM)
    pipe.write(b"two\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["one", "two"])
    assert collector.process.poll() is None
    pipe.write(b"last")
    pipe.end()
    assert collector.wait() == 0
    assert texts(tmp_path / "logs") == ["one", "two", "last"]


def test_a_second_term_reads_what_the_pipes_hold_and_leaves_now(collect, pipe, tmp_path, wait_until):
    collector = collect()
    collector.follow(pipe)
    pipe.write(b"one\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["one"])
    collector.process.send_signal(signal.SIGTERM)
    pipe.write(b"two\nhalf")
    wait_until(lambda: "two" in texts(tmp_path / "logs"))
    assert collector.stop(signal.SIGTERM) == 0
    assert texts(tmp_path / "logs") == ["one", "two", "half"]


def test_without_a_supervisor_it_reads_on_until_every_stream_has_ended(collect, pipe, tmp_path, wait_until):
    collector = collect()
    collector.follow(pipe)
    pipe.write(b"one\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["one"])
    collector.channel.close()
    pipe.write(b"two\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["one", "two"])
    pipe.end()
    assert collector.wait() == 0


def test_without_streams_term_and_a_lost_supervisor_end_it_at_once(collect):
    assert collect().stop() == 0
    orphan = collect()
    orphan.channel.close()
    assert orphan.wait() == 0


def test_int_and_hup_are_ignored(collect, pipe, tmp_path, wait_until):
    collector = collect()
    collector.follow(pipe)
    collector.process.send_signal(signal.SIGINT)
    collector.process.send_signal(signal.SIGHUP)
    pipe.write(b"still here\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["still here"])
    assert collector.process.poll() is None


def test_ps_says_what_it_is(collect):
    collector = collect()
    shown = Path(f"/proc/{collector.process.pid}/cmdline").read_bytes()
    assert shown.rstrip(b"\0") == b"workerctl: log collector"


def test_by_hand_it_says_how_it_is_used():
    finished = subprocess.run(
        [sys.executable, "-m", "workerctl.logs", "--keep", "x"], capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stdout) == (78, "")
    assert finished.stderr.startswith("usage: ") and finished.stderr.count("\n") == 1


def test_it_imports_nothing_that_is_large():
    program = "import sys, workerctl.logs.__main__; print(*sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(finished.stdout.split())
    assert not loaded & {"msgspec", "pathlib", "logging", "argparse", "datetime", "asyncio", "dataclasses"}
