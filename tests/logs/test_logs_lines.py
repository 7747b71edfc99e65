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
