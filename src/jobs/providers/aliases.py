"""Which names are one person's: by how a text introduces them, and by family name with courtesy name. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from .characters import Character
from .surnames import is_full_name, surname_of

DOMINANCE = 2  # times that a family name's main bearer must outweigh the next to own its 公
_TITLES = "公 丞相 将军 先生 都督 皇叔 太守 太师 太尉 司徒 大人 老爷 夫人 公子 小姐 姑娘"
TITLES = frozenset(_TITLES.split())


def merged(weights: Mapping[str, int], introductions: Iterable[tuple[str, str]]) -> list[Character]:
    """Characters with their aliases, the weightiest first.

    `weights` are the accepted names with how much was seen of them; `introductions` say (who, other name), where
    `who` ends with a full name. A courtesy name that several have stays with the weightiest of them.
    """
    owners = _courtesy_owners(weights, introductions)
    for name in weights:
        owner = _owner_of(name, weights, owners)
        if owner is not None:
            owners[name] = owner
    grouped: defaultdict[str, set[str]] = defaultdict(set)
    for name in (*weights, *owners):
        grouped[_final_owner(name, owners)].add(name)
    totals = {owner: sum(weights.get(name, 0) for name in names) for owner, names in grouped.items()}
    return [
        Character(name=owner, aliases=tuple(sorted(grouped[owner] - {owner})))
        for owner in sorted(grouped, key=lambda owner: (-totals[owner], owner))
    ]


def _courtesy_owners(weights: Mapping[str, int], introductions: Iterable[tuple[str, str]]) -> dict[str, str]:
    claims: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for who, other in introductions:
        full = _introduced(who, weights)
        if full is not None and full != other:
            claims[other][full] += 1
    return {
        other: max(owners, key=lambda full: (owners[full], weights[full], full)) for other, owners in claims.items()
    }


def _introduced(who: str, weights: Mapping[str, int]) -> str | None:
    """The longest accepted full name that `who` ends with."""
    endings = (who[start:] for start in range(len(who) - 1))
    return next((name for name in endings if name in weights and is_full_name(name)), None)


def _owner_of(name: str, weights: Mapping[str, int], owners: Mapping[str, str]) -> str | None:
    """刘玄德 is whose courtesy name is 玄德, if he is a 刘; 关公 is the 关 who is mentioned most by far."""
    surname = surname_of(name)
    given = name.removeprefix(surname)
    if surname and surname_of(owners.get(given, "")) == surname and owners[given] != name:
        return owners[given]
    if surname and given in TITLES:
        totals: Counter[str] = Counter()
        for other, weight in weights.items():
            owner = _final_owner(other, owners)
            if surname_of(owner) == surname and is_full_name(owner) and owner != name:
                totals[owner] += weight
        first, second = [*totals.most_common(2), ("", 0), ("", 0)][:2]
        return first[0] if first[1] > DOMINANCE * second[1] else None
    return None


def _final_owner(name: str, owners: Mapping[str, str]) -> str:
    """Follows aliases of aliases; all of a circle end at the same one of its names."""
    path = [name]
    while path[-1] in owners:
        following = owners[path[-1]]
        if following in path:
            return min(path[path.index(following) :])
        path.append(following)
    return path[-1]
