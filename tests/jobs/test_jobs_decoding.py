"""Which encoding a text is in, and what is no text."""

from __future__ import annotations

import codecs
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerctl.jobs.text.decoding import UnreadableText, decode

SIMPLIFIED = (
    "第一回　宴桃园豪杰三结义\n\n话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。及秦灭之后，楚、汉分争。\n"
    * 5
)
TRADITIONAL = (
    "第一回　宴桃園豪傑三結義\n\n話說天下大勢，分久必合，合久必分。周末七國分爭，並入於秦。及秦滅之後，楚、漢分爭。\n"
    * 5
)
ENGLISH = "CHAPTER 1. Loomings.\n\nCall me Ishmael. Some years ago, never mind how long precisely.\n" * 5


@pytest.mark.parametrize("text", [SIMPLIFIED, TRADITIONAL, ENGLISH], ids=["simplified", "traditional", "english"])
@pytest.mark.parametrize(
    ("codec", "bom", "name"),
    [
        ("utf-8", b"", "utf-8"),
        ("utf-8", codecs.BOM_UTF8, "utf-8-sig"),
        ("utf-16-le", codecs.BOM_UTF16_LE, "utf-16-le-bom"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "utf-16-be-bom"),
        ("utf-16-le", b"", "utf-16-le"),
        ("utf-16-be", b"", "utf-16-be"),
    ],
)
def test_unicode_is_recognised_with_and_without_its_mark(text: str, codec: str, bom: bytes, name: str):
    decoded = decode(bom + text.encode(codec))
    assert (decoded.text, decoded.encoding) == (text, name)


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [(SIMPLIFIED, "gb18030", "gb18030"), (SIMPLIFIED, "gbk", "gb18030"), (TRADITIONAL, "big5", "big5hkscs")],
)
def test_older_chinese_encodings_are_told_apart(text: str, codec: str, name: str):
    decoded = decode(text.encode(codec))
    assert (decoded.text, decoded.encoding) == (text, name)


def test_a_short_chapter_is_enough_to_tell_gb18030_from_big5():
    text = "第一章 雨夜\n他说：我们走吧。"
    assert decode(text.encode("gb18030")).text == text
    text = "第一章 雨夜\n他說：我們走吧。"
    assert decode(text.encode("big5")).text == text


def test_rare_characters_of_gb18030_survive():
    text = SIMPLIFIED + "孫𩅦，字䨮，𠮷野家。"
    assert decode(text.encode("gb18030")).text == text


def test_line_ends_become_one_kind_and_nothing_else_changes():
    assert decode("a\r\nb\rc\nd\u3000 e\t\r\n\r\n".encode()).text == "a\nb\nc\nd\u3000 e\t\n\n"


@pytest.mark.parametrize("content", [b"", b"\n\r\n \t", codecs.BOM_UTF8, "\ufeff \n".encode("utf-16-le"), b"\0" * 99])
def test_nothing_is_said_to_be_nothing(content: bytes):
    with pytest.raises(UnreadableText, match="the text is empty"):
        decode(content)


@pytest.mark.parametrize(("text", "characters"), [(SIMPLIFIED, 100), (ENGLISH, 200), (SIMPLIFIED, 2), (ENGLISH, 0)])
def test_invalid_utf8_is_said_with_its_place(text: str, characters: int):
    head, tail = text[:characters].encode(), text[characters:].encode()
    with pytest.raises(UnreadableText, match=rf"not valid UTF-8 at byte {len(head)} \(ff fb"):
        decode(head + b"\xff\xfb" + tail)


def test_utf8_that_was_cut_inside_a_character_is_said_with_its_place():
    content = SIMPLIFIED[:100].encode() + "汉".encode()[:2]
    with pytest.raises(UnreadableText, match=rf"not valid UTF-8 at byte {len(content) - 2} \(e6 b1\)"):
        decode(content)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(5000),
        random.Random(2).randbytes(100_000),
        b"\x7fELF\x02\x01\x01" + b"\0" * 400 + b"ordinary words between" * 20 + b"\0" * 400,
        b"PK\x03\x04" + random.Random(3).randbytes(20_000),
        b"%PDF-1.7\n\x01\x02\x03" + random.Random(4).randbytes(500),
    ],
    ids=["png", "noise", "elf", "zip", "pdf"],
)
def test_a_binary_file_is_refused(content: bytes):
    with pytest.raises(UnreadableText):
        decode(content)


def test_a_stray_zero_is_replaced_because_no_database_takes_it():
    assert decode((ENGLISH * 20 + "a\0b").encode()).text.endswith("a\ufffdb")


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Zl"]), min_size=1))
def test_any_text_in_utf8_comes_back(text: str):
    if text.strip() and not text.startswith("\ufeff"):
        assert decode(("。" + text).encode()).text == "。" + text


@given(st.binary(max_size=2000))
def test_no_bytes_raise_anything_else(content: bytes):
    try:
        decoded = decode(content)
    except UnreadableText:
        return
    assert "\r" not in decoded.text
    assert "\0" not in decoded.text
