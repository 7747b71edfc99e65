"""How many cores we may use, and how many workers that makes."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from . import cgroup


def usable_cores(affinity: Collection[int], cgroup_root: Path, membership: str = "") -> list[int]:
    """The cores we may use: the affinity, cut to the whole cores of the tightest quota above us.

    `membership` is the content of /proc/self/cgroup; empty: we are in the root. At least one core.
    """
    cores = sorted(affinity)
    quotas = [_quota(folder) for folder in cgroup.folders(cgroup_root, membership, "cpu")]
    allowed = min((quota for quota in quotas if quota is not None), default=float(len(cores)))
    return cores[: max(1, int(min(allowed, len(cores))))]


def machine_cores() -> list[int]:
    """`usable_cores` of this process."""
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return usable_cores(affinity, cgroup.ROOT, cgroup.own_membership())


def resolve_instances(instances: int | Literal["auto", "max"], usable: int, reserved: int) -> int:
    """Workers of a pool: `auto` spares the reserved cores, `max` does not, both at least 1."""
    match instances:
        case "auto":
            return max(1, usable - reserved)
        case "max":
            return max(1, usable)
        case number:
            return number


def resolve_reserved_cores(reserved: int | None, usable: int, *, embedded: bool) -> int:
    """The setting where it is given; else 1 beside an embedded database on more than two cores, else 0."""
    if reserved is not None:
        return reserved
    return 1 if embedded and usable > 2 else 0


def _quota(folder: Path) -> float | None:
    quota, _, period = cgroup.first_line(folder / "cpu.max").partition(" ")  # v2: "max 100000" or "50000 100000"
    if not quota:
        quota = cgroup.first_line(folder / "cpu.cfs_quota_us")  # v1: -1 is no limit
        period = cgroup.first_line(folder / "cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)
