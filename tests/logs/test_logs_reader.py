from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path

import pytest

from workerctl.logs.reader import Place, follow, parse_place, read

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


def _bytes_read() -> int:
    counters = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in counters if line.startswith("rchar")).split()[1])
