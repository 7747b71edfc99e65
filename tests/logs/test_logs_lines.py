from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerctl.logs.lines import LINE_LIMIT_BYTES, LineCutter, stamp


def cut(*blocks: bytes) -> bytes:
    cutter = LineCutter()
    return b"".join([*(cutter.feed(block) for block in blocks), cutter.last_words()])


@given(st.text(), st.lists(st.integers(0, 200)))
def test_however_a_stream_is_chopped_the_same_lines_come_out(text, places):
    content = text.encode()
    edges = sorted({0, len(content), *(place for place in places if place < len(content))})
    blocks = [content[start:end] for start, end in pairwise(edges)]
    ended = content if not content or content.endswith(b"\n") else content + b"\n"
    assert cut(*blocks) == ended


def test_half_a_line_waits_for_its_end():
    cutter = LineCutter()
    assert cutter.feed(b"half") == b""
    assert cutter.feed(b" a line\nand") == b"half a line\n"
    assert cutter.last_words() == b"and\n"


def test_nothing_left_means_no_last_words():
    cutter = LineCutter()
    cutter.feed(b"whole\n")
    assert cutter.last_words() == b""


def test_the_rest_of_a_line_over_the_limit_is_counted_and_said():
    block = b"x" * 65536
    lines = cut(*([block] * 160), b"end\nnext\n").split(b"\n")
    assert lines[0].startswith(b"x" * LINE_LIMIT_BYTES + b" [workerctl: ")
    dropped = 160 * 65536 + 3 - LINE_LIMIT_BYTES
    assert lines[0].endswith(b"[workerctl: %d more bytes of this line were cut]" % dropped)
    assert lines[1:] == [b"next", b""]


def test_a_line_of_exactly_the_limit_is_whole():
    half = b"x" * (LINE_LIMIT_BYTES // 2)
    assert cut(half, half + b"\n") == half + half + b"\n"


@pytest.mark.parametrize("garbage", [b"\xff\xfe\x00", "半".encode()[:2], b"\x80" * 9])
def test_invalid_utf8_is_replaced_and_its_neighbours_kept(garbage):
    lines = cut(b"before\n" + garbage + b"\nafter\n")
    assert lines.decode().split("\n")[::2] == ["before", "after"]
    assert "\N{REPLACEMENT CHARACTER}" in lines.decode()


def test_a_character_cut_in_two_by_a_block_stays_whole():
    content = "第一回 宴桃园豪杰三结义\n".encode()
    assert cut(content[:4], content[4:]) == content


def test_stamped_lines_carry_time_sequence_and_serial():
    stamped, count = stamp(b"one\n\n", b"2026-11-22T10:28:51.123456Z", 41, 7)
    assert stamped == b"2026-11-22T10:28:51.123456Z 41 7 one\n2026-11-22T10:28:51.123456Z 42 7 \n"
    assert count == 2


def stamped_texts(content: bytes) -> list[bytes]:
    stamped, count = stamp(content, b"2026-11-22T10:28:51.123456Z", 1, 7)
    lines = stamped.splitlines()
    assert [line.split(b" ")[1] for line in lines] == [b"%d" % number for number in range(1, count + 1)]
    return [line.split(b" ", 3)[3] for line in lines]


@pytest.mark.parametrize(
    ("written", "on_disk"),
    [
        (b"\x1ejob=12/a.b one\nplain\n\x1ejob=3/c \n", [b"job=12/a.b one", b"plain", b"job=3/c "]),
        (b"plain\n\x1ejob=12/a one\n", [b"plain", b"job=12/a one"]),
        (b"half of another\x1ejob=12/a one\n", [b"half of another", b"job=12/a one"]),
        (b"\x1ejob=1/a half\x1ejob=2/b two\n", [b"job=1/a half", b"job=2/b two"]),
        (b"job=5/x nobody's\n", [b"job=- job=5/x nobody's"]),
        (b"\x1ejob=1/a job=2/b in its text\n", [b"job=1/a job=2/b in its text"]),
        (b"\x1ejob=1/a one\njob=2/b forged\n", [b"job=1/a one", b"job=- job=2/b forged"]),
        (b'\x1e{"json": "seq"}\n', [b'\x1e{"json": "seq"}']),
        (b"\x1ejob=1/a one\n\x1e{}\n", [b"job=1/a one", b"\x1e{}"]),
        (b"\x1ejob=x/a no number\n", [b"job=x/a no number"]),
    ],
)
def test_marks_become_the_column_of_a_job_and_nothing_else_looks_like_one(written, on_disk):
    assert stamped_texts(written) == on_disk
