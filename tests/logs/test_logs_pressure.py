"""A disk that is full or hangs: writers wait a moment, then lines are lost, counted and said."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from logs_writers import texts

from workerctl.logs.outlet import PATIENCE_SECONDS


class HangingDisk:
    """A log file that takes a little and then nothing until it is let go: a named pipe that nobody reads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._reader = threading.Thread(target=self._drain)
        self._ended = threading.Event()
        self.content = b""

    def let_go(self) -> None:
        os.set_blocking(self._fd, True)
        self._reader.start()

    def close(self) -> None:
        self._ended.set()
        os.write(self._fd, b"\n")
        if self._reader.is_alive():
            self._reader.join()
        os.close(self._fd)

    def _drain(self) -> None:
        while not self._ended.is_set():
            self.content += os.read(self._fd, 65536)


@pytest.fixture
def disk(tmp_path):
    hanging = HangingDisk(tmp_path / "logs" / "default-1.out.log")
    yield hanging
    hanging.close()


def spawn_flood(pipe, lines):
    return subprocess.Popen(
        [sys.executable, "-c", f"for n in range({lines}): print(n, 'x' * 110)"], stdout=pipe.writing
    )


def said(content: bytes) -> list[int]:
    """The counts of lost lines in what was written."""
    lines = [line.split(b" ", 3)[3] for line in content.splitlines() if b"lines were lost here" in line]
    return [int(line.split()[1]) for line in lines]


def test_a_disk_that_hangs_holds_writers_up_for_two_seconds_and_every_lost_line_is_counted(
    collect, pipe, disk, wait_until
):
    collector = collect()
    stream = collector.follow(pipe)
    began = time.monotonic()
    writer = spawn_flood(pipe, 20_000)
    pipe.end()
    assert writer.wait(20) == 0
    assert time.monotonic() - began > 1.5  # it was held up, and then it was not
    assert PATIENCE_SECONDS == 2.0  # no upper bound is safe on a busy machine
    disk.let_go()
    wait_until(lambda: said(disk.content))
    collector.wait_for("stream-ended", stream=stream)
    wait_until(lambda: sum(b" xxx" in line for line in disk.content.splitlines()) + sum(said(disk.content)) == 20_000)
    assert b"lines were lost here: the disk did not answer" in disk.content


def test_while_a_disk_hangs_it_hears_the_supervisor_and_reads_others(collect, pipe, new_pipe, disk, wait_until):
    collector = collect()
    collector.follow(pipe)
    writer = spawn_flood(pipe, 10_000)
    assert writer.wait(20) == 0
    other = new_pipe()
    stream = collector.follow(other, serial=2, slot=2)
    other.write(b"lost too, for there is one disk\n")
    other.end()
    collector.wait_for("stream-ended", stream=stream)
    disk.let_go()
    wait_until(lambda: said(disk.content))
    pipe.write(b"after\n")
    wait_until(lambda: disk.content.endswith(b" after\n"))


def test_a_disk_that_hangs_for_less_than_the_patience_loses_nothing(collect, pipe, disk, wait_until):
    collector = collect()
    stream = collector.follow(pipe)
    writer = spawn_flood(pipe, 5_000)
    pipe.end()
    with pytest.raises(subprocess.TimeoutExpired):
        writer.wait(0.5)
    disk.let_go()
    collector.wait_for("stream-ended", stream=stream)
    assert writer.wait() == 0
    wait_until(lambda: disk.content.count(b" xxx") == 5_000)
    assert said(disk.content) == []


def test_a_disk_that_has_room_again_in_time_loses_nothing(collect, pipe, tmp_path, wait_until):
    collector = collect()
    stream = collector.follow(pipe)
    path = tmp_path / "logs" / "default-1.out.log"
    unlimited = resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (100_000, unlimited[1]))
    writer = spawn_flood(pipe, 5_000)
    pipe.end()
    wait_until(lambda: path.exists() and path.stat().st_size > 90_000)
    resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, unlimited)
    collector.wait_for("stream-ended", stream=stream)
    assert writer.wait() == 0
    assert [int(text.split()[0]) for text in texts(tmp_path / "logs")] == list(range(5_000))


def test_last_words_wait_for_a_full_disk_too(collect, pipe, tmp_path, wait_until):
    collector = collect()
    stream = collector.follow(pipe)
    path = tmp_path / "logs" / "default-1.out.log"
    pipe.write(b"one\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["one"])
    unlimited = resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (path.stat().st_size, unlimited[1]))
    pipe.write(b"last words")
    pipe.end()
    with pytest.raises(subprocess.TimeoutExpired):
        collector.process.wait(0.5)
    assert not collector.has_ended(stream)
    resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, unlimited)
    collector.wait_for("stream-ended", stream=stream)
    assert texts(tmp_path / "logs") == ["one", "last words"]


def test_a_full_disk_does_not_keep_a_hurried_collector(collect, pipe, tmp_path, wait_until):
    collector = collect()
    collector.follow(pipe)
    resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    pipe.write(b"x" * 60 + b"\n" + b"y" * 2000 + b"\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["x" * 60])
    collector.process.terminate()
    collector.wait_until_taken()
    assert collector.stop() == 0
