"""What a model says about the persons of a novel, kept where its quotation stands in the text, and joined with what was
found offline. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from ..text.quotations import Quotable
from .characters import Character, Claim
from .surnames import is_full_name

PROOFS = 2  # quotations that it takes to join two persons whom the offline finder holds apart, unless one names both
NAME_LIMIT = 60  # characters

_QUOTED = {"name": {"type": "string"}, "quotation": {"type": "string"}}
_ALIASES = {"type": "array", "items": {"type": "object", "properties": _QUOTED, "required": ["name", "quotation"],
                                       "additionalProperties": False}}  # fmt: skip
_PERSON = {"type": "object", "properties": {**_QUOTED, "aliases": _ALIASES},
           "required": ["name", "quotation", "aliases"], "additionalProperties": False}  # fmt: skip
SCHEMA = {
    "type": "object",
    "properties": {"persons": {"type": "array", "items": _PERSON}},
    "required": ["persons"],
    "additionalProperties": False,
}

Text = Annotated[str, Meta(max_length=10_000)]


class SaidAlias(msgspec.Struct, frozen=True):
    name: Text
    quotation: Text


class SaidPerson(msgspec.Struct, frozen=True):
    name: Text
    quotation: Text
    aliases: list[SaidAlias] = []


class Said(msgspec.Struct, frozen=True):
    """A model's answer."""

    persons: list[SaidPerson]


def proved(said: Said, sections: Sequence[tuple[int, str]]) -> tuple[list[Claim], int]:
    """The claims whose quotation stands in one of these (index, text) and has the name, and how many have not."""
    texts = [(index, Quotable(text)) for index, text in sections]
    claims: list[Claim] = []
    unproved = 0
    for person in said.persons:
        name = person.name.strip()
        for alias, quotation in [
            ("", person.quotation),
            *((one.name.strip(), one.quotation) for one in person.aliases),
        ]:
            claim = _proved(name, alias, quotation, texts)
            if claim is None:
                unproved += 1
            elif alias != name:
                claims.append(claim)
    return claims, unproved


def joined(offline: Sequence[Character], claims: Iterable[Claim]) -> list[Character]:
    """The persons that were found offline and those that are claimed, each once, under the name they are mostly given.

    An alias that a claim proves joins its person. Two whom the offline finder holds apart take more: a quotation that
    names both, or several.
    """
    claims = list(claims)
    owner = {name: person.name for person in offline for name in person.names}
    groups = _Groups(owner)
    proofs: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    named = Counter(claim.name for claim in claims)
    for claim in claims:
        groups.add(claim.name)
        if claim.alias:
            groups.add(claim.alias)
            proofs[claim.name, claim.alias].add(claim.quotation)
    for (name, alias), quotations in sorted(proofs.items()):
        apart = name in owner and alias in owner and owner[name] != owner[alias] and _could_both_be_whole(name, alias)
        names_both = any(name in quotation and alias in quotation for quotation in quotations)
        if not apart or names_both or len(quotations) >= PROOFS:
            groups.join(name, alias)
    order = {person.name: place for place, person in enumerate(offline)}
    made = []
    for names in groups.all():
        main = min(names, key=lambda name: (-named[name], order.get(name, len(order)), -len(name), name))
        made.append(Character(name=main, aliases=tuple(sorted(names - {main}))))
    return made


def claims_about(person: Character, claims: Iterable[Claim]) -> list[Claim]:
    """Those that name this person, each once."""
    names = set(person.names)
    return list(dict.fromkeys(claim for claim in claims if claim.name in names or claim.alias in names))


def _could_both_be_whole(name: str, alias: str) -> bool:
    """Not so for 刘备 and 玄德: one is a family name with a given name, and the other is not."""
    return is_full_name(name) == is_full_name(alias)


def _proved(name: str, alias: str, quotation: str, texts: Sequence[tuple[int, Quotable]]) -> Claim | None:
    called = alias or name
    if not 1 < len(called) <= NAME_LIMIT or not 1 < len(name) <= NAME_LIMIT:
        return None
    for index, text in texts:
        found = text.quoted(quotation)
        if found is not None and called.casefold() in found.casefold():
            return Claim(name=name, alias=alias, quotation=found, section=index)
    return None


class _Groups:
    """Names in groups that grow together."""

    def __init__(self, above: dict[str, str]) -> None:
        self._above = dict(above) | {owner: owner for owner in above.values()}

    def add(self, name: str) -> None:
        self._above.setdefault(name, name)

    def join(self, one: str, other: str) -> None:
        self._above[self._top(one)] = self._top(other)

    def all(self) -> list[set[str]]:
        found: defaultdict[str, set[str]] = defaultdict(set)
        for name in self._above:
            found[self._top(name)].add(name)
        return list(found.values())

    def _top(self, name: str) -> str:
        while self._above[name] != name:
            name = self._above[name]
        return name
