from __future__ import annotations

import os
import re
import resource
import signal
from pathlib import Path

import pytest
from logs_writers import spawn_writer, texts

from workerctl.logs.reader import follow, read

ON_DISK = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \d+ \d+ .*")


def test_whole_lines_arrive_with_time_sequence_and_serial(collect, pipe, tmp_path):
    collector = collect()
    stream = collector.follow(pipe, serial=9, slot=3)
    pipe.write("hello\n你好\n".encode())
    pipe.end()
    collector.wait_for("stream-ended", stream=stream)
    path = tmp_path / "logs" / "default-3.out.log"
    lines = path.read_bytes().splitlines()
    assert all(ON_DISK.fullmatch(line) for line in lines)
    assert [line.split(b" ", 1)[1].decode() for line in lines] == ["1 9 hello", "2 9 你好"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_line_is_lost_in_a_flood_with_rotation(collect, new_pipe, tmp_path):
    collector = collect(max_size_bytes=1_000_000, keep=1000)
    program = "for n in range(60_000): print(n, 'x' * 110)"
    streams, writers = [], []
    for serial in (1, 2):
        pipe = new_pipe()
        streams.append(collector.follow(pipe, serial=serial, slot=serial))
        writers.append(spawn_writer(program, pipe))
    for stream in streams:
        collector.wait_for("stream-ended", stream=stream)
    assert [writer.wait() for writer in writers] == [0, 0]
    for slot in (1, 2):
        files = list((tmp_path / "logs").glob(f"default-{slot}.out.log*"))
        assert len(files) > 5 and all(file.stat().st_size <= 1_000_000 for file in files)
        mine = [line for line in read(tmp_path / "logs") if line.slot == slot]
        assert [int(line.text.split()[0]) for line in mine] == list(range(60_000))
        assert [line.seq for line in mine] == list(range(1, 60_001))


def test_following_a_flood_through_rotations_misses_and_repeats_nothing(collect, pipe, tmp_path):
    collector = collect(max_size_bytes=500_000, keep=1000)
    stream = collector.follow(pipe)
    writer = spawn_writer("for n in range(30_000): print(n, 'x' * 110)", pipe)
    lines = follow(tmp_path / "logs", poll_seconds=0.001, finished=lambda: collector.has_ended(stream))
    assert [int(line.text.split()[0]) for line in lines] == list(range(30_000))
    assert writer.wait() == 0


def test_only_as_many_rotated_files_stay_as_are_kept(collect, pipe, tmp_path):
    collector = collect(max_size_bytes=1000, keep=2)
    stream = collector.follow(pipe)
    pipe.write(b"".join(b"line %d\n" % number for number in range(200)))
    pipe.end()
    collector.wait_for("stream-ended", stream=stream)
    names = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert names == ["default-1.out.log", "default-1.out.log.1", "default-1.out.log.2"]
    assert texts(tmp_path / "logs")[-1] == "line 199"


def test_the_last_words_of_a_killed_writer_are_kept(collect, pipe, tmp_path, wait_until):
    collector = collect()
    stream = collector.follow(pipe)
    writer = spawn_writer("import os, time; os.write(1, b'first\\nlast wor'); time.sleep(600)", pipe)
    wait_until(lambda: texts(tmp_path / "logs") == ["first"])
    writer.kill()
    writer.wait()
    collector.wait_for("stream-ended", stream=stream)
    assert texts(tmp_path / "logs") == ["first", "last wor"]


def test_a_line_of_10_mb_is_cut_and_what_follows_is_whole(collect, pipe, tmp_path):
    collector = collect()
    stream = collector.follow(pipe)
    writer = spawn_writer("print('x' * 10_000_000); print('next')", pipe)
    collector.wait_for("stream-ended", stream=stream)
    assert writer.wait() == 0
    first, second = texts(tmp_path / "logs")
    assert first == "x" * 1048576 + f" [workerctl: {10_000_000 - 1048576} more bytes of this line were cut]"
    assert second == "next"


def test_binary_garbage_leaves_valid_text_and_whole_lines(collect, pipe, tmp_path):
    collector = collect()
    stream = collector.follow(pipe)
    garbage = bytes(byte for byte in os.urandom(50_000) if byte != 10)
    pipe.write(b"before\n" + garbage + b"\nafter\n")
    pipe.end()
    collector.wait_for("stream-ended", stream=stream)
    (tmp_path / "logs" / "default-1.out.log").read_text(encoding="utf-8")
    lines = texts(tmp_path / "logs")
    assert (len(lines), lines[0], lines[2]) == (3, "before", "after")


def test_both_streams_of_a_worker_share_one_sequence_and_merge_in_order(collect, new_pipe, tmp_path, wait_until):
    collector = collect()
    pipes = {name: new_pipe() for name in ("out", "err")}
    for name, pipe in pipes.items():
        collector.follow(pipe, name)
    expected = []
    for number in range(10):
        name = "err" if number % 3 == 0 else "out"
        expected.append((number + 1, name, f"line {number}"))
        pipes[name].write(b"line %d\n" % number)
        wait_until(lambda: len(list(read(tmp_path / "logs"))) == len(expected))
    assert [(line.seq, line.stream, line.text) for line in read(tmp_path / "logs")] == expected


def test_a_deleted_file_is_made_again(collect, pipe, tmp_path, wait_until):
    collector = collect()
    collector.follow(pipe)
    pipe.write(b"gone\n")
    path = tmp_path / "logs" / "default-1.out.log"
    wait_until(lambda: texts(tmp_path / "logs") == ["gone"])
    path.unlink()
    pipe.write(b"there\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["there"])


def test_a_deleted_folder_is_made_again(collect, pipe, tmp_path, wait_until):
    collector = collect()
    collector.follow(pipe)
    pipe.write(b"gone\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["gone"])
    (tmp_path / "logs" / "default-1.out.log").unlink()
    (tmp_path / "logs").rmdir()
    pipe.write(b"there\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["there"])


def test_a_killed_collectors_successor_loses_nothing_that_the_pipes_hold_and_goes_on_counting(
    collect, pipe, tmp_path, wait_until
):
    first = collect()
    first.follow(pipe, serial=5)
    pipe.write(b"one\ntwo\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["one", "two"])
    first.stop(signal.SIGKILL)
    pipe.write(b"three\n")
    second = collect()
    stream = second.follow(pipe, serial=5)
    pipe.write(b"four\n")
    pipe.end()
    second.wait_for("stream-ended", stream=stream)
    found = [(line.seq, line.text) for line in read(tmp_path / "logs")]
    assert found == [(1, "one"), (2, "two"), (3, "three"), (4, "four")]


def test_a_line_that_a_killed_collector_wrote_in_half_is_ended_before_the_next(collect, pipe, tmp_path):
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "default-1.out.log"
    path.write_text("2026-11-22T10:28:51.123456Z 1 5 hal")
    collector = collect()
    stream = collector.follow(pipe, serial=6)
    pipe.write(b"whole\n")
    pipe.end()
    collector.wait_for("stream-ended", stream=stream)
    assert texts(tmp_path / "logs") == ["hal", "whole"]


def test_a_full_disk_drops_and_says_how_much_when_it_has_room_again(collect, pipe, tmp_path, wait_until):
    collector = collect()
    collector.follow(pipe)
    path = tmp_path / "logs" / "default-1.out.log"
    pipe.write(b"before\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["before"])
    unlimited = resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, (path.stat().st_size + 20, unlimited[1]))
    for number in range(200):  # far more than a pipe holds: it must not block
        pipe.write(b"lost %d\n" % number * 500)
    resource.prlimit(collector.process.pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: any(line.startswith("[workerctl]") for line in texts(tmp_path / "logs")))
    pipe.write(b"after\n")
    wait_until(lambda: texts(tmp_path / "logs")[-1] == "after")
    lines = texts(tmp_path / "logs")
    said = [line for line in lines if line.startswith("[workerctl]")]
    written = sum(line.startswith("lost") for line in lines)
    counted = sum(int(line.split()[1]) for line in said)
    assert (lines[0], written + counted) == ("before", 100_000)
    assert "lines were lost here: File too large" in said[0]


@pytest.mark.parametrize("how", ["signal", "message"])
def test_reopen_lets_go_of_a_file_that_was_moved_away(collect, pipe, tmp_path, wait_until, how):
    collector = collect()
    collector.follow(pipe)
    path = tmp_path / "logs" / "default-1.out.log"
    pipe.write(b"old\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["old"])
    path.rename(tmp_path / "moved.log")
    if how == "signal":
        collector.process.send_signal(signal.SIGUSR1)
    else:
        collector.channel.send({"type": "reopen"})

    def written_anew() -> bool:
        pipe.write(b"new\n")
        return path.exists()

    wait_until(written_anew)
    assert (tmp_path / "moved.log").read_text().splitlines()[0].endswith(" old")


def test_a_stream_that_is_resent_is_followed_once(collect, pipe, tmp_path):
    collector = collect()
    stream = collector.follow(pipe)
    collector.follow(pipe)
    pipe.write(b"once\n")
    pipe.end()
    collector.wait_for("stream-ended", stream=stream)
    assert collector.stop() == 0
    assert texts(tmp_path / "logs") == ["once"]


def test_descriptors_and_files_are_given_back_over_many_workers(collect, new_pipe, tmp_path):
    collector = collect()
    folder = Path(f"/proc/{collector.process.pid}/fd")
    before = len(list(folder.iterdir()))
    for serial in range(50):
        pipe = new_pipe()
        stream = collector.follow(pipe, serial=serial, slot=serial % 3)
        pipe.write(b"hello\n")
        pipe.close()
        collector.wait_for("stream-ended", stream=stream)
    assert len(list(folder.iterdir())) == before
    assert len(texts(tmp_path / "logs")) == 50
