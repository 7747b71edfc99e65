"""Figures: a value with its spread, what it should reach, and the state of the machine beside it. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach, in the figure's own unit."""

    limit: float
    at_most: bool

    def is_met_by(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report. The first target is today's; later ones are where it should go."""

    name: str
    unit: str
    value: float
    low: float
    high: float
    count: int
    targets: tuple[Target, ...] = ()
    note: str = ""


def at_most(*limits: float) -> tuple[Target, ...]:
    return tuple(Target(limit, at_most=True) for limit in limits)


def at_least(*limits: float) -> tuple[Target, ...]:
    return tuple(Target(limit, at_most=False) for limit in limits)


def figure(
    name: str,
    unit: str,
    samples: Sequence[float],
    targets: tuple[Target, ...] = (),
    *,
    value: Callable[[Sequence[float]], float] = statistics.median,
    note: str = "",
) -> Figure:
    """The samples as a figure: their median, unless `value` takes something else of them."""
    return Figure(name, unit, value(samples), min(samples), max(samples), len(samples), targets, note)


def percentile(share: float) -> Callable[[Sequence[float]], float]:
    """Takes the smallest sample that at least `share` of all samples don't exceed."""

    def take(samples: Sequence[float]) -> float:
        return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]

    return take


def shown(value: float) -> str:
    """A number with three digits that matter; thousands with a comma."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
