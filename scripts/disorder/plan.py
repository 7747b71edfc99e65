"""Pure: which faults strike when, from a seed. The same seed gives the same faults."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

Target = Literal[
    "worker", "sleeper", "agent", "template", "collector", "supervisor", "postgres", "backend", "machine", "network"
]
Deed = Literal["kill", "stop", "freeze", "cut"]  # to freeze is to stop for longer than one is waited for

GAP_SECONDS = (1.0, 4.0)  # between two faults
SETTLED_SECONDS = 2.0  # before the first

# How many cards of each fault are in the pack, and for how long it lasts. A pack is dealt to its end before the next.
PACK: dict[tuple[Target, Deed], tuple[int, tuple[float, float]]] = {
    ("worker", "kill"): (7, (0, 0)),
    ("worker", "stop"): (3, (1, 6)),
    ("worker", "freeze"): (1, (16, 20)),  # it is taken for hung after 15 s
    ("sleeper", "freeze"): (
        2,
        (18, 22),
    ),  # with it its supervisor: it wakes when its lease is over, with results in hand
    ("agent", "kill"): (2, (0, 0)),
    ("agent", "stop"): (2, (2, 12)),  # the primary's lease is 8 s
    ("template", "kill"): (1, (0, 0)),
    ("template", "stop"): (1, (1, 5)),
    ("collector", "kill"): (1, (0, 0)),
    ("collector", "stop"): (1, (1, 5)),
    ("supervisor", "kill"): (1, (0, 0)),
    ("supervisor", "stop"): (1, (1, 6)),
    ("machine", "kill"): (1, (0, 0)),
    ("machine", "freeze"): (1, (18, 24)),  # its leases end after 16 s
    ("backend", "kill"): (1, (0, 0)),
    ("postgres", "kill"): (2, (0, 0)),
    ("postgres", "stop"): (2, (1, 6)),
    ("postgres", "freeze"): (1, (9, 13)),  # nobody waits for it longer than 8 s
    ("network", "cut"): (3, (0.5, 4)),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One blow. `choice` in [0, 1) picks among several victims; `seconds` is how long a stop or a cut lasts."""

    at_seconds: float
    target: Target
    deed: Deed
    node: int
    choice: float
    seconds: float

    @property
    def name(self) -> str:
        return f"{self.target} {self.deed}"


def faults(seed: int, seconds: float) -> list[Fault]:
    """Every fault of a run that lasts so long."""
    return list(takewhile(lambda fault: fault.at_seconds <= seconds, _endless(random.Random(seed))))


def _endless(chance: random.Random) -> Iterator[Fault]:
    at = SETTLED_SECONDS
    while True:
        pack = [card for card, (copies, _) in PACK.items() for _ in range(copies)]
        chance.shuffle(pack)
        for target, deed in pack:
            node = chance.choice((1, 2))
            node = 1 if target in ("postgres", "backend") else 2 if deed in ("freeze", "cut") else node
            lasts = chance.uniform(*PACK[target, deed][1])
            yield Fault(round(at, 2), target, deed, node, chance.random(), round(lasts, 2))
            at += chance.uniform(*GAP_SECONDS)
