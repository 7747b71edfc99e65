"""Parts within a token budget, which together are the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerctl.jobs.text.cutting import cut, estimate_tokens
from workerctl.jobs.text.numerals import number_of

CHINESE = "话说天下大势，分久必合。周末七国分争，并入于秦！及秦灭之后？"
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=40), st.sampled_from([CHINESE, "Call me Ishmael. ", "\n", "\n\n", "word " * 30, "长" * 90])
    )
).map("".join)


def texts_of(text: str, max_tokens: int) -> list[str]:
    return [text[start:end] for start, end in cut(text, max_tokens)]


@given(TEXTS, st.integers(1, 60))
def test_parts_together_are_the_text_and_each_fits_the_budget(text: str, max_tokens: int):
    parts = texts_of(text, max_tokens)
    assert "".join(parts) == text
    assert all(part and estimate_tokens(part) <= max_tokens for part in parts)


def test_a_text_within_the_budget_is_one_part_and_nothing_has_none():
    assert cut(CHINESE, 1000) == [(0, len(CHINESE))]
    assert cut("", 10) == []


def test_paragraphs_stay_whole_where_they_fit():
    text = "一二三四五\n\n六七八九十\n\n甲乙丙丁戊\n"
    assert texts_of(text, 13) == ["一二三四五\n\n六七八九十\n\n", "甲乙丙丁戊\n"]


def test_a_long_paragraph_is_cut_at_sentence_ends():
    assert texts_of("今天下雨了。他没有出门！“走吧。”她说。", 8) == ["今天下雨了。", "他没有出门！", "“走吧。”她说。"]
    assert texts_of("It rained. He stayed at home. She did not.", 6) == [
        "It rained. ",
        "He stayed at home. ",
        "She did not.",
    ]


def test_a_long_sentence_is_cut_between_words_and_a_long_word_anywhere():
    assert texts_of("abcd efgh ijkl mnop", 4) == ["abcd efgh ", "ijkl mnop"]
    assert texts_of("长" * 25, 10) == ["长" * 10, "长" * 10, "长" * 5]


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("天下", 2), ("abcd", 1), ("abcde", 2), ("天下abcd。", 4), ("カナ한글", 4)]
)
def test_the_estimate_counts_wide_characters_and_fours_of_others(text: str, tokens: int):
    assert estimate_tokens(text) == tokens


def test_a_budget_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        cut("a", 0)


@pytest.mark.parametrize(
    ("text", "number"),
    [("一", 1), ("十", 10), ("十二", 12), ("二十", 20), ("廿三", 23), ("卅", 30), ("百二十", 120), ("一百零八", 108),
     ("一百〇八", 108), ("一二〇", 120), ("两千零一", 2001), ("壹佰贰拾", 120), ("〇", 0), ("12", 12), ("１２", 12),
     ("XII", 12), ("iv", 4), ("CXXXV", 135), ("XIX", 19), ("Twelve", 12), ("TWENTY-ONE", 21), ("the", None),
     ("first", 1), ("Twentieth", 20), ("IVX", None), ("civil", None), ("99999999999", None)],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(text: str, number: int | None):
    assert number_of(text) == number
