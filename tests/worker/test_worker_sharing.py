"""A template that has settled makes new objects in new pools, and lets go of files without losing what it wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workerctl.worker.sharing import POOL_BYTES, POOL_HEADER_BYTES

SETTLED = f"""
from workerctl.worker.sharing import settle
settle()
made = [bytes(size - 33) for size in range(112, 513, 16)]
print(sum(id(each) % {POOL_BYTES} == {POOL_HEADER_BYTES} for each in made), len(made))
"""
LET_GO = """
import hashlib, ssl, sqlite3
from workerctl.worker.sharing import let_go_of_files
def mapped_kib():
    return sum(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssFile"))
def work():
    row = sqlite3.connect(":memory:").execute("SELECT 1").fetchone()
    return hashlib.sha3_256(b"x").hexdigest(), ssl.create_default_context().protocol, row
before, size = work(), mapped_kib()
let_go_of_files()
left = mapped_kib()
assert work() == before
print(size, left)
"""


def said(program: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_after_settling_new_objects_begin_new_pools() -> None:
    fresh, made = said(SETTLED)
    assert fresh >= 0.8 * made, "but for what the look itself made room for"


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells what is mapped")
def test_a_process_that_let_go_of_files_works_on_and_maps_less() -> None:
    size, left = said(LET_GO)
    assert left < size / 2
