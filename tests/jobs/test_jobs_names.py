"""Names in texts that the tests write themselves, Chinese and English."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerctl.jobs.providers.aliases import merged
from workerctl.jobs.providers.characters import added, finder_for
from workerctl.jobs.providers.english_names import EnglishNames
from workerctl.jobs.providers.surnames import is_full_name, surname_of
from workerctl.jobs.text.mentions import Tally

CLASSICAL = (
    "话说涿县有一人，姓刘名备，字玄德。玄德曰：“此事可行。”众人曰：“愿从。”左右曰：“不可。”"
    "姓关，名羽，字长生，后改云长。云长大笑曰：“善！”关公怒曰：“不可！”关公曰：“去！”刘玄德曰：“善。”"
    "张飞大怒曰：“我去！”张飞曰：“快走！”司马懿曰：“退兵。”懿字仲达，河内人也。司马懿大惊。\n"
) * 3
MODERN = (
    "林小雨推开门，笑道：“你来了。”陈默说：“嗯。”林小雨点点头，低声说道：“走吧。”陈默问道：“去哪里？”"
    "“去北京。”林小雨说。大家说：“好。”经理说：“开会。”陈默回答道：“我不去。”北京下雨了。\n"
) * 4
ENGLISH = (
    'Captain Ahab stood there. "Where is the whale?" cried Ahab. It was Starbuck who answered him. '
    '"I saw Ahab," said Starbuck. Mr. Stubb laughed, and then Stubb said nothing. We sailed from Nantucket on Monday. '
    "When we came to Nantucket, old Peter Coffin asked Ahab's mate. Whales are big; nobody but Coffin said so. "
    "The Pequod sailed, and on the Pequod said the crew their prayers.\n\n"
) * 3


def chinese(text: str) -> dict[str, tuple[str, ...]]:
    pytest.importorskip("jieba", reason="the extra `content` is not installed")
    finder = finder_for("zh")
    return {one.name: one.aliases for one in finder.decide([finder.observe(text)])}


def test_chinese_names_are_found_by_speech_and_introduction():
    found = chinese(CLASSICAL)
    assert found == {
        "刘备": ("刘玄德", "玄德"),
        "关羽": ("云长", "关公", "长生"),
        "张飞": (),
        "司马懿": ("仲达",),
    }


def test_modern_names_that_no_dictionary_has_are_found_by_speech():
    assert set(chinese(MODERN)) == {"林小雨", "陈默"}


def test_a_text_made_to_confuse_takes_no_time():
    pytest.importorskip("jieba", reason="the extra `content` is not installed")
    started = time.process_time()
    finder_for("zh").observe("玄德" + "大呼" * 500 + "\n" + "姓" * 5000 + "字" * 5000)
    EnglishNames().observe("Captain " * 5000 + "A-" * 5000 + "Ab' " * 5000)
    assert time.process_time() - started < 5


def test_a_text_without_persons_has_no_characters():
    assert chinese("今天天气很好。山上有一座庙，庙里没有人。\n" * 20) == {}
    assert finder_for("en").decide([finder_for("en").observe("It rained. The well was dry.\n" * 20)]) == []


def test_observations_of_sections_add_up_to_those_of_the_whole():
    pytest.importorskip("jieba", reason="the extra `content` is not installed")
    finder = finder_for("zh")
    apart = [finder.observe(CLASSICAL), finder.observe(MODERN)]
    together = finder.observe(CLASSICAL + MODERN)
    assert added(apart).evidence == together.evidence
    assert [one.name for one in finder.decide(apart)] == [one.name for one in finder.decide([together])]


def test_english_names_are_found_and_places_ships_and_days_are_not():
    finder = EnglishNames()
    assert {one.name: one.aliases for one in finder.decide([finder.observe(ENGLISH)])} == {
        "Ahab": (),
        "Starbuck": (),
        "Stubb": (),
        "Peter Coffin": ("Coffin",),
    }


@given(st.text(max_size=300))
def test_no_text_makes_the_english_finder_fail(text: str):
    finder = EnglishNames()
    finder.decide([finder.observe(text)])


def test_without_jieba_the_error_says_what_to_install():
    program = (
        "import sys; sys.modules['jieba'] = None\n"
        "from workerctl import Fail\n"
        "from workerctl.jobs.providers.characters import finder_for\n"
        "try: finder_for('zh')\n"
        "except Fail as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "Chinese names need jieba: pip install 'workerctl[content]'\n"


@pytest.mark.parametrize(
    ("name", "surname", "full"),
    [("刘备", "刘", True), ("刘", "刘", False), ("司马懿", "司马", True), ("诸葛孔明", "诸葛", True),
     ("司马", "司马", False), ("玄德", "", False), ("欧阳", "欧阳", False), ("劉備", "劉", True), ("", "", False),
     ("刘关张飞", "刘", False)],
)  # fmt: skip
def test_surnames_of_two_characters_come_first(name: str, surname: str, full: bool):
    assert (surname_of(name), is_full_name(name)) == (surname, full)


def test_a_courtesy_name_stays_with_the_one_who_is_introduced_more():
    weights = {"黄权": 5, "孙权": 50, "公衡": 2}
    found = merged(weights, [("姓黄权", "公衡"), ("黄权", "公衡"), ("孙权", "公衡")])
    assert {one.name: one.aliases for one in found} == {"孙权": (), "黄权": ("公衡",)}


def test_an_honorific_needs_one_bearer_who_outweighs_the_others():
    assert [one.names for one in merged({"关羽": 90, "关兴": 10, "关公": 20}, [])] == [("关羽", "关公"), ("关兴",)]
    assert [one.names for one in merged({"曹操": 50, "曹丕": 40, "曹公": 20}, [])] == [("曹操",), ("曹丕",), ("曹公",)]


NAMES = st.sampled_from(["刘备", "张飞", "关羽", "玄德", "云长", "刘玄德", "关公", "关兴", "司马懿", "曹公"])


@given(st.dictionaries(NAMES, st.integers(1, 9)), st.lists(st.tuples(NAMES, NAMES)))
def test_every_name_belongs_to_one_character_even_where_introductions_go_in_circles(
    weights: dict[str, int], introductions: list[tuple[str, str]]
):
    names = [name for one in merged(weights, introductions) for name in one.names]
    assert len(names) == len(set(names))
    assert set(weights) <= set(names)


def test_mentions_count_the_longest_name_where_it_stands():
    tally = Tally([("刘备", ("刘备", "玄德", "刘玄德")), ("关羽", ("关羽",)), ("Ahab", ("Ahab",))])
    tally.add(3, "刘玄德与关羽。玄德曰。\n关羽笑。\nAhab, not Ahabs. 刘备、关羽。\n")
    tally.add(5, "没有人。")
    tally.add(6, "玄德。")
    liu, guan, ahab = (tally.mentions[name] for name in ("刘备", "关羽", "Ahab"))
    assert (liu.total, liu.first_section, liu.last_section, liu.sections) == (4, 3, 6, 2)
    assert liu.by_name == {"刘玄德": 1, "玄德": 2, "刘备": 1}
    assert (guan.total, guan.together) == (3, {"刘备": 2, "Ahab": 1})
    assert ahab.total == 1


def test_a_novel_without_characters_counts_nothing():
    tally = Tally([])
    tally.add(0, "没有人。")
    assert tally.mentions == {}
