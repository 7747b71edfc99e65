"""Cores and memory as real control groups limit them: version 1, as root."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
MIB = 1 << 20
ASK = (
    "from workerctl.settings.cores import machine_cores\n"
    "from workerctl.settings.memory import machine_memory_bytes\n"
    "print(len(machine_cores()), machine_memory_bytes())"
)


@pytest.fixture
def group() -> Iterator[dict[str, Path]]:
    """A group of our own below another one, in the hierarchies of cpu and memory."""
    if os.geteuid() != 0:
        pytest.skip("only root can make control groups")
    name = f"workerctl-test-{os.getpid()}"
    made: dict[str, Path] = {}
    try:
        for controller, limit in (("memory", "memory.limit_in_bytes"), ("cpu", "cpu.cfs_quota_us")):
            outer = ROOT / controller / name
            outer.mkdir()
            made[controller] = outer
            (outer / "inner").mkdir()
            if not (outer / limit).exists():
                pytest.skip(f"no {controller} controller of version 1 here")
    except OSError as error:
        _remove(made)
        pytest.skip(f"no control group of version 1 can be made here: {error}")
    yield made
    _remove(made)


def _remove(made: dict[str, Path]) -> None:
    for outer in made.values():
        for folder in (outer / "inner", outer):
            if folder.exists():
                folder.rmdir()


def _seen_from(made: dict[str, Path]) -> tuple[int, int]:
    """Cores and bytes that a process in the inner groups sees."""
    places = " ".join(f"{outer}/inner/cgroup.procs" for outer in made.values())
    script = f'for place in {places}; do echo $$ > "$place" || exit 9; done; exec "$0" -c "$1"'
    done = subprocess.run(["sh", "-c", script, sys.executable, ASK], capture_output=True, text=True, check=True)
    cores, size = done.stdout.split()
    return int(cores), int(size)


def test_the_limit_of_an_outer_group_binds_who_sits_in_an_inner_one(group: dict[str, Path]) -> None:
    (group["memory"] / "memory.limit_in_bytes").write_text(str(200 * MIB))
    (group["cpu"] / "cpu.cfs_period_us").write_text("100000")
    (group["cpu"] / "cpu.cfs_quota_us").write_text("100000")
    assert _seen_from(group) == (1, 200 * MIB)


def test_without_a_limit_the_group_has_what_the_machine_has(group: dict[str, Path]) -> None:
    cores, size = _seen_from(group)
    assert cores == len(os.sched_getaffinity(0))
    assert size == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
