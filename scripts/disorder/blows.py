"""Pure: which blows a house's processes get when, from a seed. The same seed gives the same blows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

Deed = Literal[
    "kill", "stop", "hangup", "hangup twice", "restart", "scale", "reload", "bad reload", "storm", "delete logs",
    "descriptors", "bad job", "terms", "kill supervisor", "kill everything",
]  # fmt: skip

GAP_SECONDS = (0.5, 3.0)
SETTLED_SECONDS = 2.0
MOST_WORKERS = 6
BAD_JOBS = ("chaos.exit", "chaos.hang", "chaos.grandchild", "chaos.spike", "chaos.long_line", "chaos.half_line")

# How many cards of each blow are in the pack, its targets, and how long it lasts. A pack is dealt to its end.
PACK: tuple[tuple[int, Deed, tuple[str, ...], tuple[float, float]], ...] = (
    (6, "kill", ("worker",), (0, 0)),
    (3, "kill", ("agent", "template", "collector"), (0, 0)),
    (1, "kill", ("postgres",), (0, 0)),
    (2, "stop", ("worker",), (1, 5)),
    (3, "stop", ("agent", "template", "collector"), (1, 6)),
    (1, "stop", ("supervisor",), (1, 4)),
    (1, "hangup", ("",), (0, 0)),
    (1, "hangup twice", ("",), (0, 0)),
    (1, "reload", ("",), (0, 0)),
    (1, "bad reload", ("",), (0, 0)),
    (1, "restart", ("",), (0, 0)),
    (2, "scale", ("",), (0, 0)),
    (1, "storm", ("",), (1, 2)),
    (1, "delete logs", ("",), (0, 0)),
    (1, "descriptors", ("",), (1, 3)),
    (4, "bad job", BAD_JOBS, (0, 0)),
    (1, "terms", ("",), (0, 0)),
    (1, "kill supervisor", ("",), (0, 0)),
    (1, "kill everything", ("",), (0, 0)),
)


@dataclass(frozen=True, slots=True)
class Blow:
    """`choice` in [0, 1) picks among several victims or numbers; `seconds` is how long it lasts."""

    at_seconds: float
    deed: Deed
    target: str
    choice: float
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.deed} {self.target}".strip()


def blows(seed: int, seconds: float) -> list[Blow]:
    """Every blow of a run that lasts so long."""
    return list(takewhile(lambda blow: blow.at_seconds <= seconds, _endless(random.Random(seed))))


def _endless(chance: random.Random) -> Iterator[Blow]:
    at = SETTLED_SECONDS
    while True:
        pack = [card for card in PACK for _ in range(card[0])]
        chance.shuffle(pack)
        for _, deed, targets, lasts in pack:
            yield Blow(round(at, 2), deed, chance.choice(targets), chance.random(), round(chance.uniform(*lasts), 2))
            at += chance.uniform(*GAP_SECONDS)
