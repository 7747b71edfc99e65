"""Cuts a chapter into parts of a token budget: at paragraph ends, else sentence ends. Pure and lossless."""

from __future__ import annotations

import re
from collections.abc import Iterator

LATIN_CHARACTERS_PER_TOKEN = 4

# Ideographs, kana, hangul and full-width marks; the others are counted by fours.
_WIDE = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]+")
_PARAGRAPH = re.compile(r"[^\n]*\n+|[^\n]+")
_SENTENCE = re.compile(r"[^。！？；!?;.…]*(?:[。！？；!?;.…]+[”’」』）)\"']*\s*|\Z)", re.DOTALL)
_WORD = re.compile(r"\S*\s+|\S+")


def estimate_tokens(text: str) -> int:
    """About as many tokens as a language model's tokenizer makes: one per CJK character, one per four others.

    Today's byte-pair vocabularies take 0.6 to 1.3 tokens for a Chinese character and about four English letters
    per token, so a budget should leave a fifth to spare.
    """
    narrow = len(_WIDE.sub("", text))
    return len(text) - narrow + -(-narrow // LATIN_CHARACTERS_PER_TOKEN)


def cut(text: str, max_tokens: int) -> list[tuple[int, int]]:
    """Parts of the text as (start, end) that follow each other from 0 to its end, each within `max_tokens`.

    As few paragraphs are parted as can be: only one that is over the budget by itself is cut at sentence ends, only
    such a sentence at spaces, and only such a word anywhere. An empty text has no part.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens must be at least 1, not {max_tokens}")
    parts: list[tuple[int, int]] = []
    start = end = tokens = 0
    for piece_length, piece_tokens in _pieces(text, max_tokens):
        if end > start and tokens + piece_tokens > max_tokens:
            parts.append((start, end))
            start, tokens = end, 0
        end += piece_length
        tokens += piece_tokens
    if end > start:
        parts.append((start, end))
    return parts


def _pieces(text: str, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Length and tokens of the smallest stretches that need not be parted."""
    for paragraph in _PARAGRAPH.finditer(text):
        yield from _fitting(paragraph.group(), max_tokens, (_SENTENCE, _WORD))


def _fitting(text: str, max_tokens: int, finer: tuple[re.Pattern[str], ...]) -> Iterator[tuple[int, int]]:
    tokens = estimate_tokens(text)
    if tokens <= max_tokens:
        yield len(text), tokens
    elif finer:
        for match in finer[0].finditer(text):
            if match.group():
                yield from _fitting(match.group(), max_tokens, finer[1:])
    else:
        for start in range(0, len(text), max_tokens):
            piece = text[start : start + max_tokens]
            yield len(piece), estimate_tokens(piece)
