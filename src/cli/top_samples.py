"""Pure: what `top` remembers of each process, and how a row of numbers becomes a line of blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BLOCKS = "▁▂▃▄▅▆▇█"
SAMPLES = 60


@dataclass(slots=True)
class Track:
    """The last minute of one seat."""

    cpu_percent: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    rss_bytes: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))


@dataclass(frozen=True, slots=True)
class Seat:
    """One process of the status document with the group it belongs to."""

    group: str
    process: Mapping[str, Any]
    limit_bytes: int | None
    is_worker: bool

    @property
    def key(self) -> tuple[str, int]:
        return self.group, self.process["slot"]


def seats(document: Mapping[str, Any]) -> list[Seat]:
    """Every process that lives or should, workers first."""
    found = [
        Seat(team["name"], worker, team.get("memory_limit_bytes"), is_worker=True)
        for team in document["pools"]
        for worker in team["workers"]
    ]
    found += [
        Seat(team["name"], process, None, is_worker=False)
        for part in ("apps", "roles")
        for team in document[part]
        for process in team["processes"]
        if not process.get("done")
    ]
    return found


def remember(tracks: dict[tuple[str, int], Track], found: Iterable[Seat]) -> None:
    """Add a sample to every seat, and forget the seats that are gone."""
    present = {seat.key: seat for seat in found}
    for key in tracks.keys() - present.keys():
        del tracks[key]
    for key, seat in present.items():
        track = tracks.setdefault(key, Track())
        track.cpu_percent.append(seat.process["cpu_percent"] or 0.0)
        track.rss_bytes.append(float(seat.process["rss_bytes"] or 0))


def sparkline(values: Sequence[float], width: int, top: float) -> str:
    """The last `width` values between 0 and `top`, one block each; blanks in front where there are fewer."""
    shown = list(values)[-width:] if width > 0 else []
    scale = (len(BLOCKS) - 1) / top if top > 0 else 0.0
    line = "".join(BLOCKS[max(0, min(len(BLOCKS) - 1, round(value * scale)))] for value in shown)
    return line.rjust(max(0, width))
