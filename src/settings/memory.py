"""How much memory we may use, for limits that are given as a share of it."""

from __future__ import annotations

import os
from pathlib import Path

from . import cgroup


def usable_memory_bytes(machine_bytes: int, cgroup_root: Path, membership: str = "") -> int:
    """The machine's memory or the tightest cgroup limit above us, whichever is less."""
    limits = [_limit(folder) for folder in cgroup.folders(cgroup_root, membership, "memory")]
    return min([machine_bytes, *(limit for limit in limits if limit is not None)])


def machine_memory_bytes() -> int:
    """`usable_memory_bytes` of this process."""
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return usable_memory_bytes(machine_bytes, cgroup.ROOT, cgroup.own_membership())


def _limit(folder: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        text = cgroup.first_line(folder / name)
        if text.isdigit() and int(text) > 0:
            return int(text)
    return None
