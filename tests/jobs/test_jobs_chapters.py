"""Which lines are headings, in novels that the tests write themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerctl.jobs.text.chapters import Section, find_sections
from workerctl.jobs.text.headings import Kind

BODY = "他走进院子，看见月光落在井边。\n\n“你来了。”她说。\n\n"
ENGLISH_BODY = "He walked into the yard and saw the moon over the well.\n\n'You came,' she said.\n\n"


def chapters(text: str) -> list[tuple[int | None, str]]:
    return [(section.number, section.title) for section in find_sections(text) if section.kind is Kind.CHAPTER]


def kinds(text: str) -> list[tuple[str, str]]:
    return [(section.kind.value, section.heading) for section in find_sections(text)]


def text_of(text: str, section: Section) -> str:
    return text[section.start : section.end]


@pytest.mark.parametrize(
    ("headings", "numbers"),
    [
        (["第一回 宴桃园", "第二回 怒鞭督邮", "第三回 议温明"], [1, 2, 3]),
        (["第1章 雨", "第2章 雪", "第3章 风"], [1, 2, 3]),
        (["第１０章　雨", "第１１章　雪"], [10, 11]),
        (["第十章", "第十一章", "第十二章"], [10, 11, 12]),
        (["第九十九章：雨", "第一百章：雪", "第一百零一章：风", "第一百〇二章：云"], [99, 100, 101, 102]),
        (["第廿章 雨", "第廿一章 雪"], [20, 21]),
        (["第两百章 雨", "第二〇一章 雪"], [200, 201]),
        (["　　第一节 雨", "　　第二节 雪"], [1, 2]),
        (["第一章开端", "第二章上海滩", "第三章中秋月", "第四章说书人"], [1, 2, 3, 4]),
        (["第 1 章 雨", "第 2 章 雪"], [1, 2]),
        (["第一章（上）", "第一章（下）", "第二章"], [1, 1, 2]),
        (["第一章 你是谁？", "第二章 走！", "第三章 ……"], [1, 2, 3]),
        (["第一卷", "第二卷", "第三卷"], [1, 2, 3]),
        (["卷一 本纪", "卷二 列传"], [1, 2]),
        (["第一集 雨", "第二集 雪"], [1, 2]),
        (["第一話 雨", "第二話 雪"], [1, 2]),
    ],
)
def test_chinese_headings_are_found(headings: list[str], numbers: list[int]):
    text = "".join(f"{heading}\n\n{BODY}" for heading in headings)
    assert [number for number, _ in chapters(text)] == numbers
    assert "".join(text_of(text, section) for section in find_sections(text)) == text


@pytest.mark.parametrize(
    ("headings", "numbers"),
    [
        (["CHAPTER I", "CHAPTER II", "CHAPTER III", "CHAPTER IV"], [1, 2, 3, 4]),
        (["CHAPTER 1. Loomings.", "CHAPTER 2. The Carpet-Bag."], [1, 2]),
        (["Chapter One", "Chapter Two", "Chapter Three"], [1, 2, 3]),
        (["Chapter Nineteen: Rain", "Chapter Twenty: Snow", "Chapter Twenty-One: Wind"], [19, 20, 21]),
        (["CHAPTER THE FIRST", "CHAPTER THE SECOND"], [1, 2]),
        (["Chapter 9 - The Well", "Chapter 10 - The Yard"], [9, 10]),
        (["Chapter 1\n\nRAIN", "Chapter 2\n\nSNOW"], [1, 2]),
        (["CHAPTER XCIX.—Rain", "CHAPTER C.—Snow", "CHAPTER CI.—Wind"], [99, 100, 101]),
        (["BOOK I", "BOOK II"], [1, 2]),
        (["PART ONE", "PART TWO"], [1, 2]),
    ],
)
def test_english_headings_are_found(headings: list[str], numbers: list[int]):
    text = "".join(f"{heading}\n\n{ENGLISH_BODY}" for heading in headings)
    assert [number for number, _ in chapters(text)] == numbers


def test_titles_are_what_follows_the_number():
    text = f"第一回　宴桃园豪杰三结义　斩黄巾英雄首立功\n{BODY}第二回：怒鞭督邮\n{BODY}第三章\n"
    assert chapters(text) == [(1, "宴桃园豪杰三结义　斩黄巾英雄首立功"), (2, "怒鞭督邮")]


def test_a_novel_without_headings_is_one_chapter():
    assert [(s.kind, s.number, s.start, s.end) for s in find_sections(BODY)] == [(Kind.CHAPTER, None, 0, len(BODY))]


def test_what_stands_before_the_first_heading_is_front_matter_unless_blank():
    assert kinds(f"红楼\n曹雪芹 著\n\n第一回 雨\n{BODY}") == [("front", ""), ("chapter", "第一回 雨")]
    assert kinds(f"\n\n　\n第一回 雨\n{BODY}") == [("chapter", "第一回 雨")]


def test_words_head_what_they_name():
    text = "".join(
        f"{heading}\n\n{BODY}"
        for heading in ["自序", "楔子", "第一章 雨", "第二章 雪", "尾声", "番外一 旧事", "番外二 新事", "后记"]
    )
    assert kinds(text) == [
        ("front", "自序"),
        ("prologue", "楔子"),
        ("chapter", "第一章 雨"),
        ("chapter", "第二章 雪"),
        ("epilogue", "尾声"),
        ("extra", "番外一 旧事"),
        ("extra", "番外二 新事"),
        ("back", "后记"),
    ]


def test_english_words_head_what_they_name():
    headings = ["PREFACE", "ETYMOLOGY.", "PROLOGUE", "CHAPTER I", "CHAPTER II", "EPILOGUE", "APPENDIX"]
    text = "".join(f"{heading}\n\n{ENGLISH_BODY}" for heading in headings)
    assert [kind for kind, _ in kinds(text)] == ["front", "front", "prologue", "chapter", "chapter", "epilogue", "back"]


def test_a_word_in_running_text_heads_nothing():
    text = f"第一章 雨\n{BODY}引子被她吹灭了。\n序言他没有读。\n前言不搭后语\n{BODY}第二章 雪\n{BODY}"
    assert [kind for kind, _ in kinds(text)] == ["chapter", "chapter"]


def test_a_preface_in_the_middle_of_a_novel_is_text():
    text = f"CHAPTER I\n\n{ENGLISH_BODY}Introduction\n\n{ENGLISH_BODY}CHAPTER II\n\n{ENGLISH_BODY}"
    assert [kind for kind, _ in kinds(text)] == ["chapter", "chapter"]


@pytest.mark.parametrize("between", ["\n", "\n\n", "……1\n", "  12\n\n"])
def test_a_table_of_contents_is_front_matter(between: str):
    contents = "".join(f"第{n}回 题目{n}{between}" for n in "一二三四五")
    novel = "".join(f"第{n}回 题目{n}\n\n{BODY}" for n in "一二三四五")
    for title in ("目录\n\n", ""):
        found = find_sections(f"书名\n\n{title}{contents}\n\n{novel}")
        assert [(section.kind, section.number) for section in found] == [
            (Kind.FRONT, None),
            *((Kind.CHAPTER, number) for number in range(1, 6)),
        ]
        assert len(chapters(f"{title}{contents}{novel}")) == 5


def test_a_table_of_contents_with_titles_on_lines_of_their_own_is_front_matter():
    contents = "".join(f"Chapter {n}\nThe {n}. title\n\n" for n in range(1, 9))
    novel = "".join(f"Chapter {n}\n\n{ENGLISH_BODY}" for n in range(1, 9))
    assert [number for number, _ in chapters(f"CONTENTS\n\n{contents}{novel}")] == list(range(1, 9))


def test_a_table_of_contents_with_volumes_is_front_matter():
    contents = "第一卷 风\n第一章 雨\n第二章 雪\n第二卷 云\n第三章 雷\n\n前面的话：此书写于江南。\n\n"
    novel = f"第一卷 风\n\n第一章 雨\n{BODY}第二章 雪\n{BODY}第二卷 云\n\n第三章 雷\n{BODY}"
    found = [section for section in find_sections(contents + novel) if section.kind is Kind.CHAPTER]
    assert [(section.number, section.volume) for section in found] == [
        (1, "第一卷 风"),
        (2, "第一卷 风"),
        (3, "第二卷 云"),
    ]


def test_a_table_of_contents_at_the_end_adds_no_chapter():
    novel = "".join(f"CHAPTER {n}\n\n{ENGLISH_BODY}" for n in ("I", "II", "III", "IV"))
    contents = "CONTENTS\n\nCHAPTER I\nCHAPTER II\nCHAPTER III\nCHAPTER IV\n"
    assert [number for number, _ in chapters(novel + contents)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "mention",
    [
        "第三回里说到的那个人，后来再没有出现。",
        "第三回合，两人不分胜负。",
        "第三章，我已经写完了，你看看。",
        "第七章讲的就是这件事。",
        "第七回 说的是曹操；第八回 说的是刘备。",
        "第三节课下了，他去找先生。",
        "第二部队已经出发",
        "他翻到第七章\n第七章\n没有字。",
        "第九回",
        "第一回",
    ],
)
def test_running_text_that_mentions_a_chapter_is_no_heading(mention: str):
    novel = f"第一回 雨\n{BODY}第二回 雪\n{BODY}{mention}\n{BODY}第三回 风\n{BODY}第四回 云\n{BODY}"
    assert [number for number, _ in chapters(novel)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "mention",
    [
        "He had read it all in\nChapter 5 of the book and\nthen forgot.",
        "as I said in\nChapter 3.\nThere was more.",
        "Part of the crew was asleep.",
        "Part I played in this matter was small.",
        "Chapter and verse were quoted.",
        "Book one of us a room, he said.",
        "Chapter 9 was the one he liked.",
        "Prologue or not, he slept.",
        "\nChapter 7\n",
    ],
)
def test_english_text_that_mentions_a_chapter_is_no_heading(mention: str):
    novel = "".join(f"CHAPTER {n}\n\n{ENGLISH_BODY}{mention * (n == 2)}\n\n{ENGLISH_BODY}" for n in range(1, 5))
    assert [number for number, _ in chapters(novel)] == [1, 2, 3, 4]


def test_volumes_are_carried_by_their_chapters_and_numbers_may_start_anew():
    text = f"第一卷 风\n\n第一章 雨\n{BODY}第二章 雪\n{BODY}第二卷 云\n卷首语。\n第一章 雷\n{BODY}第二章 电\n{BODY}"
    found = find_sections(text)
    assert [(s.number, s.title, s.volume) for s in found] == [
        (1, "雨", "第一卷 风"),
        (2, "雪", "第一卷 风"),
        (1, "雷", "第二卷 云"),
        (2, "电", "第二卷 云"),
    ]
    assert text_of(text, found[2]).startswith("第二卷 云\n卷首语。\n第一章 雷")


def test_a_volume_in_the_chapter_line_is_carried_too():
    text = f"第一卷 风起 第一章 雨\n{BODY}第一卷 风起 第二章 雪\n{BODY}第二卷 云涌 第三章 雷\n{BODY}"
    assert [(s.number, s.title, s.volume) for s in find_sections(text)] == [
        (1, "雨", "第一卷 风起"),
        (2, "雪", "第一卷 风起"),
        (3, "雷", "第二卷 云涌"),
    ]
    text = f"BOOK I\n\nCHAPTER I\n\n{ENGLISH_BODY}CHAPTER II\n\n{ENGLISH_BODY}BOOK II\n\nCHAPTER I\n\n{ENGLISH_BODY}"
    assert [(s.number, s.volume) for s in find_sections(text)] == [(1, "BOOK I"), (2, "BOOK I"), (1, "BOOK II")]


def test_sections_below_chapters_are_text():
    text = f"第一章 雨\n第一节 晨\n{BODY}第二节 午\n{BODY}第二章 雪\n第一节 夜\n{BODY}"
    assert [number for number, _ in chapters(text)] == [1, 2]


def test_a_heading_that_is_repeated_is_one_heading():
    text = f"第一章\n\n第一章 雨\n{BODY}第二章\n第二章 雪\n{BODY}{BODY}第二章 雪\n{BODY}第三章 风\n{BODY}"
    assert chapters(text) == [(1, "雨"), (2, "雪"), (3, "风")]


def test_a_repeated_heading_belongs_to_its_chapter_where_numbers_start_anew():
    volumes = [f"第{n}卷 风\n\n第一章\n\n第一章 雨\n{BODY}第二章\n\n第二章 雪\n{BODY}" for n in "一二"]
    found = find_sections("".join(volumes))
    assert [section.title for section in found] == ["雨", "雪", "雨", "雪"]
    assert all(text_of("".join(volumes), section).count("第二章") in (0, 2) for section in found)


def test_a_missing_and_a_misnumbered_chapter_lose_no_other():
    text = "".join(f"第{n}章 题\n{BODY}" for n in (1, 2, 4, 5, 15, 7, 8))
    assert [number for number, _ in chapters(text)] == [1, 2, 4, 5, 15, 7, 8]


LINES = st.sampled_from(
    ["第一回 雨", "第二回", "第三章 风", "CHAPTER I", "Chapter 2. Rain", "PART ONE", "楔子", "第一卷 云", "", "", "　",
     "他说：“第三回合。”", "Call me Ishmael.", "目录", "12", "第五回……9", "EPILOGUE", "番外", "序"]
)  # fmt: skip


@given(st.lists(LINES, min_size=1, max_size=40).map("\n".join))
def test_sections_always_follow_each_other_from_start_to_end(text: str):
    found = find_sections(text)
    edges = [0, *(section.end for section in found)]
    assert edges[-1] == len(text)
    assert [section.start for section in found] == edges[:-1]


def test_many_chapters_take_no_more_than_linear_time():
    text = "".join(f"第{n}章 题目\n{BODY}" for n in range(1, 8001))
    assert len(chapters(text)) == 8000
