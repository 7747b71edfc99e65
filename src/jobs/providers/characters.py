"""The seam between characters.* and whatever knows who is in a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

Language = Literal["zh", "en"]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says about a person, with the stretch of the text that shows it."""

    name: str
    alias: str = ""  # another name of the same person; "": that there is such a person
    quotation: str
    section: int


class Observations(msgspec.Struct, kw_only=True):
    """What a stretch of text says about possible names; plain numbers, so that stretches can be added up."""

    evidence: dict[str, dict[str, int]] = {}  # candidate -> kind of evidence -> how often
    introductions: list[tuple[str, str]] = []  # (who, another name), as the text introduces them
    claims: list[Claim] = []  # of a model, each proved by its quotation
    unproved: int = 0  # claims whose quotation is not in the text, and so are none
    model: str = ""  # that was asked

    def add(self, candidate: str, kind: str, times: int = 1) -> None:
        kinds = self.evidence.setdefault(candidate, {})
        kinds[kind] = kinds.get(kind, 0) + times


class Character(msgspec.Struct, frozen=True, kw_only=True):
    """One person under a main name; no alias belongs to two persons."""

    name: str
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.aliases)


class CharacterFinder(Protocol):
    """Finds persons in two steps: stretches of a novel are observed apart, and judged together."""

    @property
    def name(self) -> str:
        """How results name this provider."""
        ...

    def observe(self, text: str) -> Observations:
        """What one section says. Called in any order, by several processes."""
        ...

    def decide(self, observations: Sequence[Observations]) -> list[Character]:
        """Who is in the novel that was observed."""
        ...


def added(observations: Sequence[Observations]) -> Observations:
    """All observations as one."""
    total = Observations()
    for one in observations:
        for candidate, kinds in one.evidence.items():
            for kind, times in kinds.items():
                total.add(candidate, kind, times)
        total.introductions.extend(one.introductions)
        total.claims.extend(one.claims)
        total.unproved += one.unproved
        total.model = total.model or one.model
    return total


def finder_for(language: Language) -> CharacterFinder:
    """The offline finder for a language, for English the model where it is installed (on every machine alike).

    Raises Fail where its library is not installed.
    """
    if language == "zh":
        from .chinese_names import ChineseNames

        return ChineseNames()
    from .english_model import EnglishModel, is_installed

    if is_installed():
        return EnglishModel()
    from .english_names import EnglishNames

    return EnglishNames()
