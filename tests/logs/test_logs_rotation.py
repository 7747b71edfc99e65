"""Rotation by age, compression and the cap on the whole folder, by a real collector."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat

import pytest
from logs_writers import spawn_writer, texts

from workerctl.logs.reader import read


def flood(collector, pipe, lines, **where):
    stream = collector.follow(pipe, **where)
    writer = spawn_writer(f"for n in range({lines}): print(n, 'x' * 110)", pipe)
    collector.wait_for("stream-ended", stream=stream)
    assert writer.wait() == 0


def numbers(directory, **options):
    return [int(text.split()[0]) for text in texts(directory, **options)]


def rotated(directory):
    return sorted(path.name for path in directory.iterdir() if not path.name.endswith(".log"))


def size(directory):
    """Bytes in all; what the collector renames or removes meanwhile counts as nothing."""
    total = 0
    for path in directory.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def test_a_file_whose_first_line_is_too_old_is_rotated_before_the_next(collect, pipe, tmp_path):
    path = tmp_path / "logs" / "default-1.out.log"
    path.parent.mkdir()
    path.write_text("2020-01-01T10:28:51.123456Z 1 5 old\n")
    collector = collect(max_age=3600.0)
    stream = collector.follow(pipe, serial=6)
    pipe.write(b"new\n")
    pipe.end()
    collector.wait_for("stream-ended", stream=stream)
    assert texts(tmp_path / "logs") == ["old", "new"]
    assert path.with_name(f"{path.name}.1").read_text().endswith(" old\n")
    assert path.read_text().endswith(" new\n")


def test_a_file_ages_while_it_is_written(collect, pipe, tmp_path, wait_until):
    collector = collect(max_age=0.3)
    collector.follow(pipe)
    older = tmp_path / "logs" / "default-1.out.log.1"
    written = []

    def rotated_by_age() -> bool:
        written.append(f"line {len(written)}")
        pipe.write(f"{written[-1]}\n".encode())
        return older.exists()

    wait_until(rotated_by_age)
    wait_until(lambda: texts(tmp_path / "logs") == written)


def test_rotated_files_are_compressed_and_read_back_from_both_ends(collect, pipe, tmp_path, wait_until):
    logs = tmp_path / "logs"
    collector = collect(max_size_bytes=500_000, keep=100, compress="yes")
    flood(collector, pipe, 20_000)
    wait_until(lambda: rotated(logs) and all(name.endswith(".gz") for name in rotated(logs)))
    assert numbers(logs) == list(range(20_000))
    assert numbers(logs, lines=12_345) == list(range(20_000 - 12_345, 20_000))
    for path in logs.glob("*.gz"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert gzip.decompress(path.read_bytes()).endswith(b"\n")


def test_files_that_an_earlier_collector_left_uncompressed_are_compressed(collect, tmp_path, wait_until):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "default-1.out.log").write_text("2026-11-22T10:00:01.000000Z 2 1 new\n")
    older = logs / "default-1.out.log.1"
    older.write_text("2026-11-22T10:00:00.000000Z 1 1 old\n")
    os.utime(older, (1_700_000_000, 1_700_000_000))
    (logs / "default-1.out.log.77.1.packing").write_text("of a collector that was killed")
    collect(compress="yes")
    wait_until(lambda: rotated(logs) == ["default-1.out.log.1.gz"])
    assert (logs / "default-1.out.log.1.gz").stat().st_mtime == 1_700_000_000
    assert texts(logs) == ["old", "new"]


@pytest.mark.parametrize("compress", ["yes", "no"])
def test_over_the_cap_the_oldest_rotated_files_go_whatever_slot_they_are_of(
    collect, new_pipe, tmp_path, wait_until, compress
):
    logs = tmp_path / "logs"
    cap = 400_000
    collector = collect(max_size_bytes=100_000, keep=100, max_total=cap, compress=compress)
    flood(collector, new_pipe(), 8_000, slot=1, serial=1)
    flood(collector, new_pipe(), 8_000, slot=2, serial=2)
    wait_until(lambda: size(logs) <= cap)
    wait_until(lambda: compress == "no" or all(name.endswith(".gz") for name in rotated(logs)))
    second = [int(line.text.split()[0]) for line in read(logs) if line.slot == 2]
    assert second == list(range(8_000 - len(second), 8_000))
    first = [int(line.text.split()[0]) for line in read(logs) if line.slot == 1]
    assert first == list(range(8_000 - len(first), 8_000))
    assert 0 < len(first) <= len(second)


def test_no_more_than_kept_stay_where_some_are_compressed(collect, pipe, tmp_path, wait_until):
    logs = tmp_path / "logs"
    collector = collect(max_size_bytes=50_000, keep=3, compress="yes")
    flood(collector, pipe, 5_000)
    wait_until(lambda: rotated(logs) == [f"default-1.out.log.{number}.gz" for number in (1, 2, 3)])
    found = numbers(logs)
    assert found == list(range(5_000 - len(found), 5_000))


def test_what_a_collector_left_while_it_compressed_its_successor_compresses(collect, pipe, tmp_path, wait_until):
    logs = tmp_path / "logs"
    collector = collect(max_size_bytes=3_000_000, keep=100, compress="yes")
    flood(collector, pipe, 60_000)
    assert collector.stop() == 0
    collect(compress="yes")
    wait_until(lambda: all(name.endswith(".gz") for name in rotated(logs)))
    assert numbers(logs) == list(range(60_000))
