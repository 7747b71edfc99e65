"""What `characters.merge` leaves in storage: every person with names, mentions and company."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from .manifest import ManifestSection
    from .providers.characters import Claim
    from .text.mentions import Mentions

REPORTS = "characters/reports"
COMPANIONS = 10
QUOTATIONS = 12


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A section, as the manifest counts it, with its number and title as the novel says."""

    section: int
    number: int | None
    title: str


class Quoted(msgspec.Struct, frozen=True, kw_only=True):
    """A claim about a person and the words of the novel that it stands on."""

    name: str
    also: str = ""  # another name of the same person
    quotation: str
    section: int


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One character. `together` are paragraphs that mention both."""

    name: str
    mentions: int
    sections: int
    names: dict[str, int]  # mentions by the name used
    first: Place
    last: Place
    together: dict[str, int]
    quotations: list[Quoted] = []  # of a model's claims


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The characters of a novel, the most mentioned first."""

    manifest: str
    title: str | None
    language: str
    provider: str
    failed_shares: int
    claims: int = 0  # of a model, proved by their quotations
    unproved: int = 0  # of a model, left out because their quotations are not in the novel
    characters: list[Person]


def person_of(
    name: str, mentions: Mentions, sections: Sequence[ManifestSection], claims: Sequence[Claim] = ()
) -> Person:
    return Person(
        name=name,
        mentions=mentions.total,
        sections=mentions.sections,
        names=dict(sorted(mentions.by_name.items(), key=lambda item: (-item[1], item[0]))),
        first=_place(sections[mentions.first_section]),
        last=_place(sections[mentions.last_section]),
        together=dict(sorted(mentions.together.items(), key=lambda item: (-item[1], item[0]))[:COMPANIONS]),
        quotations=[
            Quoted(name=claim.name, also=claim.alias, quotation=claim.quotation, section=claim.section)
            for claim in _telling(claims)
        ],
    )


def _telling(claims: Sequence[Claim]) -> list[Claim]:
    """The first few, with every other name once before anything is said twice."""
    once: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        once.setdefault((claim.name, claim.alias), claim)
    return list(dict.fromkeys([*once.values(), *claims]))[:QUOTATIONS]


def _place(section: ManifestSection) -> Place:
    return Place(section=section.index, number=section.number, title=section.title)
