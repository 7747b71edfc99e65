"""How much a worker has grown, and which kinds it had in hand meanwhile."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

KINDS_TOLD = 20
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Growth:
    """Shares what was gained or given back between two looks among the kinds that were in hand.

    One look says little: kinds share a process, and memory is given back late. Over many jobs a leak shows.
    """

    def __init__(self, resident_bytes: int | None = None) -> None:
        self._resident_bytes = _resident_bytes() if resident_bytes is None else resident_bytes
        self._grown: dict[str, float] = {}
        self._jobs: Counter[str] = Counter()
        self._kinds: list[str] = []

    def look(self, claimed: Mapping[str, int], in_hand: Iterable[str], resident_bytes: int | None = None) -> None:
        """`claimed` are the jobs taken since the last look, by kind; `in_hand` the kinds that still run."""
        now_bytes = _resident_bytes() if resident_bytes is None else resident_bytes
        for kind, jobs in claimed.items():
            self._jobs[kind] += jobs
        kinds = list(dict.fromkeys((*claimed, *in_hand))) or self._kinds  # what is freed late was theirs
        if kinds:
            share = (now_bytes - self._resident_bytes) / len(kinds)
            for kind in kinds:
                self._grown[kind] = self._grown.get(kind, 0.0) + share
            self._kinds = kinds
        self._resident_bytes = now_bytes

    def told(self) -> list[dict[str, Any]]:
        """The kinds that grew most, for the supervisor."""
        most = sorted(self._grown.items(), key=lambda item: -item[1])[:KINDS_TOLD]
        return [{"kind": kind, "jobs": self._jobs[kind], "bytes": int(grown)} for kind, grown in most]


def _resident_bytes() -> int:
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY)  # pathlib would touch 0.35 MB of every worker's memory
    except OSError:
        return 0  # a system that does not tell: nothing grows
    try:
        return int(os.read(descriptor, 256).split()[1]) * PAGE_BYTES
    finally:
        os.close(descriptor)
