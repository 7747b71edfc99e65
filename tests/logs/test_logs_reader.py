from __future__ import annotations

import datetime as dt
import gzip
import os
import re
from pathlib import Path

import pytest

from workerctl.logs.cursor import Cursor
from workerctl.logs.reader import Place, follow, parse_place, read
from workerctl.logs.sources import find_sources

BEGAN = dt.datetime(2026, 11, 22, 10, 0, tzinfo=dt.UTC)


def at(seconds: float) -> dt.datetime:
    return BEGAN + dt.timedelta(seconds=seconds)


def disk_line(seconds: float, seq: int, text: str, serial: int = 1) -> str:
    return f"{at(seconds):%Y-%m-%dT%H:%M:%S.%fZ} {seq} {serial} {text}\n"


def append(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.writelines(lines)


def rotate(path: Path) -> None:
    for number in range(8, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.rename(path.with_name(f"{path.name}.{number + 1}"))
    path.rename(path.with_name(f"{path.name}.1"))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Two slots, one of them rotated twice, a second pool and the supervisor: 'text N' was written in second N."""
    append(tmp_path / "default-1.out.log", disk_line(1, 1, "text 1"))
    rotate(tmp_path / "default-1.out.log")
    append(tmp_path / "default-1.out.log", disk_line(3, 2, "text 3"))
    rotate(tmp_path / "default-1.out.log")
    append(tmp_path / "default-1.out.log", disk_line(7, 4, "text 7"))
    append(tmp_path / "default-1.err.log", disk_line(5, 3, "text 5"))
    append(tmp_path / "default-2.out.log", disk_line(2, 1, "text 2", 2), disk_line(6, 2, "text 6", 2))
    append(tmp_path / "content-1.out.log", disk_line(4, 1, "text 4", 3))
    append(tmp_path / "supervisor.log", "2026-11-22T10:00:00Z event Started\n")
    return tmp_path


def numbers(lines) -> list[int]:
    return [int(line.text.split()[-1]) for line in lines if line.group != "supervisor"]


def test_everything_is_merged_by_time_with_rotated_files(logs):
    lines = list(read(logs))
    assert numbers(lines) == [1, 2, 3, 4, 5, 6, 7]
    assert lines[0] == (at(0), "supervisor", 0, "err", 0, 0, "event Started")
    assert lines[5] == (at(5), "default", 1, "err", 1, 3, "text 5")


@pytest.mark.parametrize("count", range(10))
def test_the_last_lines_are_the_end_of_everything(logs, count):
    everything = list(read(logs))
    assert list(read(logs, lines=count)) == everything[len(everything) - count if count < 8 else 0 :]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"selection": [Place("default")]}, [1, 2, 3, 5, 6, 7]),
        ({"selection": [Place("default", 1)]}, [1, 3, 5, 7]),
        ({"selection": [Place("default", 2), Place("content")]}, [2, 4, 6]),
        ({"selection": [Place("nobody")]}, []),
        ({"streams": ["err"]}, [5]),
        ({"since": at(4)}, [4, 5, 6, 7]),
        ({"grep": re.compile("[26]$")}, [2, 6]),
        ({"serial": 2}, [2, 6]),
        ({"lines": 2, "grep": re.compile("[123]$")}, [2, 3]),
        ({"lines": 2, "since": at(7)}, [7]),
        ({"lines": 20, "serial": 1, "selection": [Place("default", 1)]}, [1, 3, 5, 7]),
    ],
)
def test_what_is_asked_for_is_what_comes(logs, options, expected):
    assert numbers(read(logs, **options)) == expected


def test_a_place_is_a_name_or_a_slot_of_it():
    assert parse_place("default") == Place("default", None)
    assert parse_place("my-pool/12") == Place("my-pool", 12)
    with pytest.raises(ValueError, match="invalid literal"):
        parse_place("default/x")


def test_a_pool_with_dashes_and_digits_keeps_its_name(tmp_path):
    append(tmp_path / "内容-2-13.out.log", disk_line(1, 1, "text 1"))
    (line,) = read(tmp_path, [Place("内容-2", 13)])
    assert (line.group, line.slot) == ("内容-2", 13)


def test_no_folder_and_foreign_files_are_no_lines(tmp_path):
    assert list(read(tmp_path / "none")) == []
    append(tmp_path / "notes.txt", "hello\n")
    assert list(read(tmp_path)) == []


def test_big_files_are_read_from_the_end(tmp_path):
    path = tmp_path / "default-1.out.log"
    append(path, *(disk_line(n / 1000, n, f"{'长' * 30} {n}") for n in range(1, 200_001)))
    opened = path.stat().st_size
    before = _bytes_read()
    assert numbers(read(tmp_path, lines=5)) == list(range(199_996, 200_001))
    assert _bytes_read() - before < opened / 50


def test_long_lines_over_many_blocks_come_back_whole_from_both_ends(tmp_path):
    long = "长" * 300_000
    append(tmp_path / "default-1.out.log", *(disk_line(n, n, f"{n}{long}{n}") for n in (1, 2, 3)))
    assert [line.text for line in read(tmp_path, lines=2)] == [f"2{long}2", f"3{long}3"]
    assert list(read(tmp_path)) == list(read(tmp_path, lines=9))


def test_a_line_that_is_being_written_is_left_out(tmp_path):
    append(tmp_path / "default-1.out.log", disk_line(1, 1, "text 1"), disk_line(2, 2, "text 2")[:-3])
    assert numbers(read(tmp_path)) == numbers(read(tmp_path, lines=5)) == [1]


def test_lines_without_a_time_stay_with_the_line_before_them(tmp_path):
    traceback = ["Traceback (most recent call last):\n", "  File 'x'\n", "ValueError: 1\n"]
    append(tmp_path / "supervisor.log", "2026-11-22T10:00:01Z event Broken\n", *traceback)
    append(tmp_path / "supervisor.log", "2026-11-22T10:00:03Z event Spawned\n")
    append(tmp_path / "default-1.out.log", disk_line(2, 1, "between"))
    expected = ["event Broken", *(line.rstrip("\n") for line in traceback), "between", "event Spawned"]
    assert [line.text for line in read(tmp_path)] == expected
    assert [line.text for line in read(tmp_path, lines=5)] == expected[1:]


def followed(directory: Path, *steps, **options) -> list[int]:
    """The numbers that come while one step after the other is done, each before another poll."""
    remaining = list(steps)

    def finished() -> bool:
        if remaining:
            remaining.pop(0)()
        return not remaining

    return numbers(follow(directory, poll_seconds=0.001, finished=finished, **options))


def test_following_gives_the_last_lines_and_then_what_is_new(logs):
    path = logs / "default-1.out.log"
    steps = [lambda: append(path, disk_line(8, 5, "text 8")), lambda: append(path, disk_line(9, 6, "text 9"))]
    assert followed(logs, *steps, lines=2) == [6, 7, 8, 9]
    assert followed(logs, lambda: append(path, disk_line(10, 7, "text 10"))) == [10]
    assert followed(logs, lambda: None, lines=None, since=at(6)) == [6, 7, 8, 9, 10]


def test_following_survives_several_rotations_between_two_polls(logs):
    path = logs / "default-1.out.log"

    def busy() -> None:
        for number in range(8, 13):
            append(path, disk_line(number, number, f"text {number}"))
            rotate(path)
        append(path, disk_line(13, 13, "text 13"))

    assert followed(logs, busy, busy, lambda: None) == [*range(8, 14), *range(8, 14)]


def test_following_waits_for_files_that_are_not_there_yet(tmp_path):
    logs = tmp_path / "logs"
    first = lambda: append(logs / "default-1.out.log", disk_line(1, 1, "text 1"))  # noqa: E731
    second = lambda: append(logs / "default-2.out.log", disk_line(2, 1, "text 2"))  # noqa: E731
    assert followed(logs, lambda: None, first, lambda: None, second) == [1, 2]


def test_following_goes_on_after_a_file_was_deleted_or_emptied(logs):
    path = logs / "default-2.out.log"
    steps = [
        path.unlink,
        lambda: append(path, disk_line(8, 3, "text 8", 2)),
        lambda: os.truncate(path, 0),
        lambda: append(path, disk_line(9, 4, "text 9", 2)),
    ]
    assert followed(logs, *steps) == [8, 9]


def test_a_deleted_file_with_rotated_ones_beside_it_repeats_nothing(logs):
    path = logs / "default-1.out.log"
    steps = [path.unlink, lambda: None, lambda: append(path, disk_line(8, 5, "text 8"))]
    assert followed(logs, *steps) == [8]


def test_half_a_line_is_followed_once_it_is_whole(logs):
    path, line = logs / "default-1.out.log", disk_line(8, 5, "text 8")
    assert followed(logs, lambda: append(path, line[:-4]), lambda: append(path, line[-4:])) == [8]


def pack(path: Path) -> None:
    """Compress a rotated file, as the collector does: a new file that is as old as the other."""
    status = path.stat()
    packed = path.with_name(f"{path.name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.unlink()


@pytest.mark.parametrize("numbers_packed", [[1], [2], [1, 2]])
def test_compressed_files_read_like_others(logs, numbers_packed):
    for number in numbers_packed:
        pack(logs / f"default-1.out.log.{number}")
    test_everything_is_merged_by_time_with_rotated_files(logs)
    assert numbers(read(logs, lines=6)) == [2, 3, 4, 5, 6, 7]
    assert numbers(read(logs, since=at(2))) == [2, 3, 4, 5, 6, 7]
    assert numbers(follow(logs, lines=7, finished=lambda: True)) == [1, 2, 3, 4, 5, 6, 7]


def test_a_file_that_is_there_twice_while_it_is_replaced_by_its_compressed_form_is_read_once(logs):
    older = logs / "default-1.out.log.1"
    (logs / f"{older.name}.gz").write_bytes(gzip.compress(older.read_bytes())[:20])
    test_everything_is_merged_by_time_with_rotated_files(logs)


def test_of_a_damaged_compressed_file_the_readable_part_is_read(tmp_path):
    path = tmp_path / "default-1.out.log"
    append(path, *(disk_line(n, n, os.urandom(50).hex() + f" {n}") for n in range(1, 5001)))
    rotate(path)
    pack(tmp_path / "default-1.out.log.1")
    append(path, disk_line(6000, 5001, "text 5001"))
    packed = tmp_path / "default-1.out.log.1.gz"
    os.truncate(packed, packed.stat().st_size // 2)
    forwards, backwards = numbers(read(tmp_path)), numbers(read(tmp_path, lines=10_000))
    assert forwards == [*range(1, len(forwards)), 5001] and len(forwards) > 1000
    assert backwards[-1] == 5001 and len(backwards) > 1000


def test_following_goes_on_where_it_was_in_a_file_that_is_compressed_under_it(logs):
    path = logs / "default-1.out.log"

    def rotate_and_pack() -> None:
        append(path, disk_line(8, 5, "text 8"))
        rotate(path)
        for number in (1, 2, 3):
            if (older := path.with_name(f"{path.name}.{number}")).exists():
                pack(older)
        append(path, disk_line(9, 6, "text 9"))

    steps = [rotate_and_pack, lambda: append(path, disk_line(10, 7, "text 10")), lambda: None]
    assert followed(logs, *steps) == [8, 9, 10]


def test_a_place_in_a_file_that_was_compressed_meanwhile_finds_both_neighbours(logs):
    path = logs / "default-1.out.log"
    (source,) = find_sources(logs, [Place("default", 1)], ["out"])
    for name in ("default-1.out.log", "default-1.out.log.1", "default-1.out.log.2"):
        os.utime(logs / name, (1_700_000_000, 1_700_000_000))  # rotated so fast that their times are the same
    with Cursor.at_end(source) as cursor:
        rotate(path)
        pack(logs / "default-1.out.log.1")
        append(path, disk_line(8, 5, "text 8"))
        before = [line.split()[-1] for line in cursor.lines_backwards()]
        assert before == [b"7", b"3", b"1"]
        assert [line.split()[-1] for line in cursor.new_lines()] == [b"8"]


def test_lines_of_a_job_are_told_from_lines_that_only_name_it(tmp_path):
    path = tmp_path / "default-1.out.log"
    append(path, disk_line(1, 1, "job=12/image.generate text 1"), disk_line(2, 2, "job 12 text 2"))
    append(path, disk_line(3, 3, "job=- job=12/image.generate text 3"), disk_line(4, 4, "job=122/a text 4"))
    append(path, disk_line(5, 5, "job=12/生成%20图 text 5"), disk_line(6, 6, "job=7/a job=12/b text 6"))
    mine = list(read(tmp_path, job=12))
    assert [(line.job, line.kind, line.text) for line in mine] == [
        (12, "image.generate", "text 1"),
        (12, "生成 图", "text 5"),
    ]
    assert list(read(tmp_path, job=12, lines=1)) == mine[1:]
    assert list(follow(tmp_path, job=12, lines=5, finished=lambda: True)) == mine
    assert [line.text for line in read(tmp_path)][2:4] == ["job=12/image.generate text 3", "text 4"]
    assert [line.job for line in read(tmp_path)] == [12, None, None, 122, 12, 7]


def _bytes_read() -> int:
    counters = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in counters if line.startswith("rchar")).split()[1])
