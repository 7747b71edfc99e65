"""Finds English names offline by rules: capitals inside sentences, titles, and who says something."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from .characters import Character, Observations, added

NAME = "rules-local"
SHORTEST = 3  # letters of a name
INSIDE = 2  # times with a capital where a sentence does not begin
PERSONAL = 2  # times speaking, with a title, or as "Ahab's"
LOWERED_SHARE = 0.1  # of a word's uses; more often in lower case it is no name
PLACED_SHARE = 0.45  # after in, at, from ...: more often it is a place
ARTICLE_SHARE = 0.5  # after the, a, an: more often it is a ship or one of many

_TITLES_TEXT = (
    "Mr Mrs Ms Miss Dr Doctor Sir Lady Lord Captain Capt Father Mother Aunt Uncle King Queen Prince Princess"
    " Professor Colonel Major General Lieutenant Sergeant Reverend Rev Bishop Saint St Count Countess Duke"
    " Duchess Baron Madame Monsieur Judge Deacon Cousin Brother Sister Commodore Admiral"
)
TITLES = frozenset(_TITLES_TEXT.split())
_NO_NAMES_TEXT = (
    "I I'm I'll I'd I've O Oh Ah Aye Yes No God Lord Heaven Heavens Christian Christmas Easter Sabbath English"
    " American French German Dutch Spanish Indian Chinese Roman Greek Latin African Chapter Book Part Volume"
    " January February March April May June July August September October November December Monday Tuesday"
    " Wednesday Thursday Friday Saturday Sunday North South East West Atlantic Pacific Sir Captain Mr Mrs"
)
_NO_NAMES = frozenset(_NO_NAMES_TEXT.split())
_FIRST_WORDS_TEXT = (
    "the a an and but then now so when while if as at in on for with by from to this that these those it he she"
    " they we you there here what who how why where yet or nor not though although after before old young poor"
    " good dear said cried all some any no yes oh ah my your his her our their"
)
_FIRST_WORDS = frozenset(_FIRST_WORDS_TEXT.split())
_VERBS = (
    "said|says|cried|asked|replied|answered|exclaimed|whispered|muttered|murmured|shouted|returned|continued|"
    "added|observed|remarked|repeated|interrupted|sighed|laughed|called|thought|began|resumed|inquired|demanded"
)
_WORD = r"[A-Z][a-zà-ÿ]+(?:['’][A-Z]?[a-zà-ÿ]+)?(?:-[A-Z][a-zà-ÿ]+)*"
_NAME = re.compile(
    rf"(?<![\w’'-])(?:(?:{'|'.join(sorted(TITLES))})\.?\s+)?{_WORD}(?:\s+(?:(?:de|von|van)\s+)?{_WORD}){{0,2}}"
)
_STARTS = re.compile(r"(?:^|[.!?:;—–]|\n\s*\n)[\s\"'“”‘’(*_]*\Z|[\"“‘(]\Z")
_SPEAKS_AFTER = re.compile(rf"\s*,?\s+(?:{_VERBS})\b")
_SPEAKS_BEFORE = re.compile(rf"\b(?:{_VERBS})\s+(?:old |young |poor |little |the )?\Z")
_PLACE_BEFORE = re.compile(r"\b(?:in|at|from|near|toward|towards|into|of the|round|off|across)\s+(?:the )?\Z")
_ARTICLES = ("the", "a", "an", "this", "that", "each", "every")
_ARTICLE_BEFORE = re.compile(rf"\b(?:{'|'.join(_ARTICLES)})\s+\Z", re.IGNORECASE)
_TITLE = re.compile(rf"^({'|'.join(sorted(TITLES))})\.?\s+")
_SPACE = re.compile(r"\s+")
_LOWER = re.compile(r"(?<![\w’'-])[a-zà-ÿ]+(?![\w’'])")


class EnglishNames:
    """Names of one to three words. It knows no pronouns and no nicknames, and may take a ship for a person."""

    name = NAME

    def observe(self, text: str) -> Observations:
        seen = Observations()
        for match in _NAME.finditer(text):
            self._look(seen, text, match)
        candidates = {candidate.lower(): candidate for candidate in seen.evidence}
        for word, times in Counter(_LOWER.findall(text)).items():
            if word in candidates:
                seen.add(candidates[word], "lowered", times)
        return seen

    def decide(self, observations: Sequence[Observations]) -> list[Character]:
        total = added(observations)
        return joined(names_in(total))

    def _look(self, seen: Observations, text: str, match: re.Match[str]) -> None:
        before = text[max(0, match.start() - 24) : match.start()]
        title = _TITLE.match(match.group())
        bare = _SPACE.sub(" ", match.group()[title.end() :] if title else match.group())
        name = bare.removesuffix("'s").removesuffix("’s")
        starts_sentence = match.start() == 0 or _STARTS.search(before) is not None
        articled = _ARTICLE_BEFORE.search(before) is not None
        words = [word for word in name.split(" ") if word not in _NO_NAMES]
        if starts_sentence and len(words) > 1 and words[0].lower() in _FIRST_WORDS:
            articled = words[0].lower() in _ARTICLES  # "The Pequod"
            words = words[1:]  # "Then Ahab"
        name = " ".join(words)
        if len(name) < SHORTEST:
            return
        seen.add(name, "first" if starts_sentence and not title and len(words) == 1 else "inside")
        facts = {
            "titled": title is not None,
            "owns": bare.endswith(("'s", "’s")),
            "spoken": _SPEAKS_AFTER.match(text, match.end()) or _SPEAKS_BEFORE.search(before),
            "articled": articled,
            "placed": _PLACE_BEFORE.search(before),
        }
        for kind, holds in facts.items():
            if holds:
                seen.add(name, kind)


def names_in(observed: Observations) -> dict[str, int]:
    """Whom the rules take for persons, and how often they were seen."""
    names = {name: kinds for name, kinds in observed.evidence.items() if _is_name(kinds)}
    return {name: kinds["inside"] + kinds.get("first", 0) for name, kinds in names.items()}


def _is_name(kinds: Mapping[str, int]) -> bool:
    inside, first = kinds.get("inside", 0), kinds.get("first", 0)
    personal = 2 * kinds.get("spoken", 0) + 2 * kinds.get("titled", 0) + kinds.get("owns", 0)
    return (
        inside >= INSIDE
        and personal >= PERSONAL
        and kinds.get("spoken", 0) + kinds.get("titled", 0) >= 1
        and kinds.get("lowered", 0) <= LOWERED_SHARE * (inside + first)
        and kinds.get("articled", 0) <= ARTICLE_SHARE * (inside + first)
        and kinds.get("placed", 0) <= PLACED_SHARE * inside
    )


def joined(weights: Mapping[str, int]) -> list[Character]:
    """A part of one single longer name is the same person: Coffin where there is but one Coffin, Peter Coffin."""
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for name in weights:
        for word in name.split(" ") if " " in name else ():
            holders[word].add(name)
    grouped: defaultdict[str, set[str]] = defaultdict(set)
    for name in weights:
        owners = holders.get(name, set())
        grouped[next(iter(owners)) if len(owners) == 1 else name].add(name)
    mains = {max(names, key=lambda name: (weights[name], name)): names for names in grouped.values()}
    return [
        Character(name=main, aliases=tuple(sorted(names - {main})))
        for main, names in sorted(mains.items(), key=lambda item: (-sum(weights[name] for name in item[1]), item[0]))
    ]
