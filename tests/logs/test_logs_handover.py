"""One collector follows another: what the first had read is written, and what it had not read is still there."""

from __future__ import annotations

import signal
import subprocess
import sys

from workerctl.logs.reader import read


def texts(directory):
    return [line.text for line in read(directory)]


def test_half_a_line_that_a_killed_collector_held_is_completed_by_its_successor(collect, pipe, tmp_path, wait_until):
    logs = tmp_path / "logs"
    first = collect()
    first.follow(pipe, serial=5)
    pipe.write("one\n第一回 宴桃".encode())
    wait_until(lambda: texts(logs) == ["one"] and list(logs.glob("*.half")))
    first.stop(signal.SIGKILL)
    second = collect()
    stream = second.follow(pipe, serial=5)
    pipe.write("园豪杰\nthree".encode())
    pipe.end()
    second.wait_for("stream-ended", stream=stream)
    assert [(line.seq, line.text) for line in read(logs)] == [(1, "one"), (2, "第一回 宴桃园豪杰"), (3, "three")]
    assert list(logs.glob("*.half")) == []


def test_a_long_half_line_that_grew_over_many_reads_outlives_a_kill(collect, pipe, tmp_path, wait_until):
    first = collect()
    first.follow(pipe, serial=5)
    for _ in range(40):
        pipe.write(b"x" * 10_000)
    kept = tmp_path / "logs" / "default-1.out.5.half"
    wait_until(lambda: kept.exists() and kept.stat().st_size > 400_000)
    first.stop(signal.SIGKILL)
    second = collect()
    stream = second.follow(pipe, serial=5)
    pipe.write(b"end\n")
    pipe.end()
    second.wait_for("stream-ended", stream=stream)
    assert texts(tmp_path / "logs") == ["x" * 400_000 + "end"]


def test_a_half_line_that_was_completed_before_the_kill_is_not_repeated(collect, pipe, tmp_path, wait_until):
    first = collect()
    first.follow(pipe, serial=5)
    pipe.write(b"one\nha")
    wait_until(lambda: list((tmp_path / "logs").glob("*.half")))
    pipe.write(b"lf\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["one", "half"])
    first.stop(signal.SIGKILL)
    second = collect()
    stream = second.follow(pipe, serial=5)
    pipe.write(b"new\n")
    pipe.end()
    second.wait_for("stream-ended", stream=stream)
    assert texts(tmp_path / "logs") == ["one", "half", "new"]


def test_a_collector_that_is_replaced_under_a_flood_leaves_every_line_whole(collect, pipe, tmp_path, wait_until):
    program = "for n in range(150_000): print(n, 'x' * 60)"
    collector = collect()
    collector.follow(pipe, serial=5)
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=pipe.writing)
    pipe.end()
    path = tmp_path / "logs" / "default-1.out.log"
    for size_bytes in (3_000_000, 6_000_000, 9_000_000):
        wait_until(lambda least=size_bytes: path.exists() and path.stat().st_size > least)
        collector.process.send_signal(signal.SIGTERM)
        collector.wait_until_taken()
        assert collector.stop(signal.SIGTERM) == 0
        collector = collect()
        stream = collector.follow(pipe, serial=5)
    collector.wait_for("stream-ended", stream=stream)
    assert writer.wait() == 0
    lines = list(read(tmp_path / "logs"))
    assert [line.text.split()[0] for line in lines] == [str(number) for number in range(150_000)]
    assert [line.seq for line in lines] == list(range(1, 150_001))


def test_a_hurried_collector_calls_no_stream_ended_that_is_still_written_to(collect, pipe, tmp_path, wait_until):
    first = collect()
    stream = first.follow(pipe, serial=5)
    pipe.write(b"one\n")
    wait_until(lambda: texts(tmp_path / "logs") == ["one"])
    first.process.send_signal(signal.SIGTERM)
    first.wait_until_taken()
    assert first.stop(signal.SIGTERM) == 0
    assert not first.has_ended(stream), "the supervisor would close the pipe, and its writers die of it"
    second = collect()
    second.follow(pipe, serial=5)
    pipe.write(b"two\n")
    pipe.end()
    second.wait_for("stream-ended", stream=stream)
    assert [(line.seq, line.text) for line in read(tmp_path / "logs")] == [(1, "one"), (2, "two")]
