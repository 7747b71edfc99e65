"""Counts who is mentioned where, and with whom. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

PARAGRAPH_NAMES = 12  # a paragraph with more persons is a list, which says nothing about who meets whom
_LETTER = r"[^\W\d_]"


@dataclass(slots=True)
class Mentions:
    """What a novel says about one person. Sections are counted as the manifest counts them."""

    total: int = 0
    first_section: int = 0
    last_section: int = 0
    sections: int = 0
    by_name: Counter[str] = field(default_factory=Counter)
    together: Counter[str] = field(default_factory=Counter)  # other person -> paragraphs with both


class Tally:
    """Counts names over the sections of a novel, given one after the other.

    At every place the longest name counts. Latin names count as whole words only, Chinese ones wherever they
    stand, so a name that is part of an ordinary word is counted there too.
    """

    def __init__(self, persons: Iterable[tuple[str, Iterable[str]]]) -> None:
        self._person_of = {name: person for person, names in persons for name in names}
        self.mentions: defaultdict[str, Mentions] = defaultdict(Mentions)
        names = sorted(self._person_of, key=lambda name: (-len(name), name))
        pattern = "|".join(_bounded(name) for name in names)
        self._any_name = re.compile(pattern) if names else None

    def add(self, section: int, text: str) -> None:
        """Count one section; sections come in ascending order."""
        if self._any_name is None:
            return
        here: set[str] = set()
        for paragraph in text.splitlines():
            found = Counter(self._any_name.findall(paragraph))
            present = sorted({self._person_of[name] for name in found})
            for name, times in found.items():
                person = self.mentions[self._person_of[name]]
                person.total += times
                person.by_name[name] += times
            if len(present) <= PARAGRAPH_NAMES:
                for one, other in combinations(present, 2):
                    self.mentions[one].together[other] += 1
                    self.mentions[other].together[one] += 1
            here.update(present)
        for name in here:
            person = self.mentions[name]
            person.first_section = section if person.sections == 0 else person.first_section
            person.last_section = section
            person.sections += 1


def _bounded(name: str) -> str:
    escaped = re.escape(name)
    return rf"(?<!{_LETTER}){escaped}(?!{_LETTER})" if name[0].isascii() else escaped
