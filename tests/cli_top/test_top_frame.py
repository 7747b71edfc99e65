"""Frames of `top` from made-up readings: they fit every terminal, whatever the names and however many processes."""

import datetime as dt
import io
from collections import deque

import pytest
from rich.cells import cell_len
from rich.console import Console

from workerctl.cli.top_samples import SAMPLES, Seat, Track, remember, sparkline
from workerctl.cli.top_view import Reading, frame
from workerctl.logs.entry import Line

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def worker(slot, **changes):
    return {"slot": slot, "pid": 100 + slot, "phase": "ready", "restarts": 0, "cpu_percent": 12.5,
            "rss_bytes": 50 << 20, "jobs": [], **changes}  # fmt: skip


def document(count, name="default", jobs=()):
    workers = [worker(slot) for slot in range(1, count + 1)]
    if workers:
        workers[0]["jobs"] = list(jobs)
    return {
        "supervisor": {"state": "running", "uptime_seconds": 90.0},
        "node": {"host": "机器"},
        "pools": [{"name": name, "ready": count, "desired": count, "memory_limit_bytes": 500 << 20,
                   "workers": workers}],
        "apps": [],
        "roles": [{"name": "agent", "processes": [worker(1)]},
                  {"name": "migrate", "processes": [worker(1) | {"done": True}]}],
    }  # fmt: skip


def reading(count=4, name="default", jobs=(), queues=1, lines=50):
    queue = {"paused": False, "due": 3, "running": 1, "later": 0, "oldest_due_seconds": 4.0}
    return Reading(
        document(count, name, jobs),
        {(name, slot): Track(deque([0.0])) for slot in range(1, count + 1)},
        [{"queue": f"队列{number}", **queue} for number in range(queues)],
        [Line(NOW, name, 1, "out", 1, number, f"第{number}行\x1b[31m红\x07" + "长" * 300) for number in range(lines)],
    )


def drawn(given, width, height):
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, legacy_windows=False)
    console.print(frame(given, width, height, keys=True))
    return out.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 16), (200, 50), (100, 24)])
@pytest.mark.parametrize("count", [0, 1, 4, 64])
@pytest.mark.parametrize("name", ["default", "小说拆分与人物提取服务与图片生成", "a" * 60])
def test_a_frame_fits_the_terminal(width, height, count, name):
    jobs = [{"id": number, "kind": "image.generate", "seconds": 1.0} for number in range(20)]
    lines = drawn(reading(count, name, jobs, queues=30), width, height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width
    assert lines[-1].startswith("q quits")


def test_everything_has_its_place_on_a_small_terminal():
    text = "\n".join(drawn(reading(jobs=[{"id": 7, "kind": "小说.拆分", "seconds": 12.0}]), 80, 24))
    for part in ("running  4/4 workers ready", "default", "agent", "队列0", "小说.拆分", "default/1", "第49行"):
        assert part in text, part
    assert "migrate" not in text


def test_a_narrow_terminal_has_whole_words_and_no_lines():
    text = "\n".join(drawn(reading(name="template-content"), 60, 24))
    for part in ("slot", "phase", "restarts", "cpu", "memory", "ready", "12%", "50MB"):
        assert part in text, part
    assert "▁" not in text
    assert "▁" in "\n".join(drawn(reading(), 80, 24))


def test_a_very_narrow_terminal_keeps_names_and_memory():
    lines = drawn(reading(name="default"), 40, 24)
    assert any(line.split()[:3] == ["default", "1", "ready"] and "50MB" in line for line in lines), lines
    assert max(map(cell_len, lines)) <= 40


def test_processes_without_room_are_counted():
    lines = drawn(reading(64), 80, 24)
    shown = sum(line.startswith(("default ", "agent ")) for line in lines)
    [more] = [line for line in lines if "more" in line]
    assert more.split()[0] == f"+{65 - shown}"


def test_what_a_program_prints_cannot_move_the_cursor_or_colour_the_screen():
    text = "\n".join(drawn(reading(), 80, 24))
    assert "\x07" not in text
    assert "\x1b" not in text


def test_without_a_supervisor_the_frame_says_so():
    assert drawn(Reading(None, {}, [], [], note="nobody answers"), 80, 24) == ["waiting (q quits): nobody answers"]


def test_a_line_of_blocks_grows_from_the_right():
    assert sparkline([], 4, 100.0) == "    "
    assert sparkline([0.0, 50.0, 100.0], 4, 100.0) == " ▁▅█"
    assert sparkline([100.0, 0.0, 250.0], 2, 100.0) == "▁█"
    assert sparkline([1.0], 3, 0.0) == "  ▁"


def test_a_minute_is_kept_of_every_seat_and_nothing_of_those_that_left():
    tracks = {}
    first, second = (Seat("default", worker(slot), None, is_worker=True) for slot in (1, 2))
    for _ in range(SAMPLES + 5):
        remember(tracks, [first, second])
    assert len(tracks["default", 1].cpu_percent) == SAMPLES
    remember(tracks, [first])
    assert list(tracks) == [("default", 1)]
