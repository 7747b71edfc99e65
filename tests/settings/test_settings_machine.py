"""Cores and memory from folders of files, laid out as cgroups v1, v2 and both do."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerctl.settings.cores import (
    machine_cores,
    resolve_instances,
    resolve_reserved_cores,
    usable_cores,
)
from workerctl.settings.memory import machine_memory_bytes, usable_memory_bytes

EIGHT = range(8)


@pytest.fixture
def tree(tmp_path: Path):
    def write(files: dict[str, str]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("files", "membership", "cores"),
    [
        ({}, "", 8),
        ({"cpu.max": "max 100000\n"}, "0::/\n", 8),
        ({"cpu.max": "300000 100000\n"}, "0::/\n", 3),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1),
        ({"cpu.max": "10000 100000\n"}, "0::/\n", 1),
        ({"cpu.max": "3200000 100000\n"}, "0::/\n", 8),
        ({"cpu.max": "garbage"}, "0::/\n", 8),
        ({"cpu.max": "100000 0"}, "0::/\n", 8),
        # nested: the tightest ancestor counts
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, "0::/a/b\n", 2),
        ({"a/b/cpu.max": "400000 100000", "a/cpu.max": "max 100000"}, "0::/a/b\n", 4),
        ({"other/cpu.max": "100000 100000"}, "0::/a/b\n", 8),
        # a container without a cgroup namespace: the host's path is not there, the root is ours
        ({"cpu.max": "200000 100000"}, "0::/docker/abc\n", 2),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/docker/abc\n", 2),
        # v1
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/\n", 8),
        ({"cpu,cpuacct/t/cpu.cfs_quota_us": "500000", "cpu,cpuacct/t/cpu.cfs_period_us": "100000"},
         "5:memory:/\n4:cpu,cpuacct:/t\n", 5),
        # both, and named hierarchies
        ({"unified/x/cpu.max": "400000 100000", "cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
         "9:name=systemd:/\n1:cpu:/\n0::/x\n", 3),
        ({"cpu.max": "200000 100000"}, "0::/../../outside\n", 2),
    ],
)  # fmt: skip
def test_the_quota_cuts_the_cores(tree, files, membership, cores):
    assert usable_cores(EIGHT, tree(files), membership) == list(range(cores))


def test_the_affinity_decides_which_cores_they_are(tree):
    root = tree({"cpu.max": "200000 100000"})
    assert usable_cores({9, 4, 6}, root) == [4, 6]
    assert usable_cores({5}, root) == [5]


def test_this_machine_has_cores_and_memory():
    assert len(machine_cores()) >= 1
    assert machine_memory_bytes() > 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("instances", "usable", "reserved", "workers"),
    [("auto", 4, 0, 4), ("auto", 4, 1, 3), ("auto", 1, 1, 1), ("auto", 2, 9, 1), ("max", 4, 2, 4),
     (0, 4, 1, 0), (7, 4, 1, 7)],
)  # fmt: skip
def test_instances_become_a_number(instances, usable, reserved, workers):
    assert resolve_instances(instances, usable, reserved) == workers


def test_a_core_is_reserved_beside_an_embedded_database_where_there_are_enough():
    assert resolve_reserved_cores(None, 4, embedded=True) == 1
    assert resolve_reserved_cores(None, 2, embedded=True) == 0
    assert resolve_reserved_cores(None, 64, embedded=False) == 0
    assert resolve_reserved_cores(0, 64, embedded=True) == 0
    assert resolve_reserved_cores(3, 2, embedded=False) == 3


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({}, "", 1000),
        ({"memory.max": "max"}, "0::/", 1000),
        ({"memory.max": "600"}, "0::/", 600),
        ({"a/memory.max": "max", "memory.max": "700"}, "0::/a", 700),
        ({"memory.max": "5000"}, "0::/", 1000),
        ({"memory/memory.limit_in_bytes": "9223372036854771712"}, "3:memory:/", 1000),
        ({"memory/t/memory.limit_in_bytes": "400"}, "3:memory:/t", 400),
    ],
)
def test_memory_is_the_tightest_limit(tree, files, membership, expected):
    assert usable_memory_bytes(1000, tree(files), membership) == expected
