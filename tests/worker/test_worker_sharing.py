"""A template that has settled makes new objects in new pools."""

from __future__ import annotations

import subprocess
import sys

from workerctl.worker.sharing import POOL_BYTES, POOL_HEADER_BYTES

SETTLED = f"""
from workerctl.worker.sharing import settle
settle()
made = [bytes(size - 33) for size in range(112, 513, 16)]
print(sum(id(each) % {POOL_BYTES} == {POOL_HEADER_BYTES} for each in made), len(made))
"""


def said(program: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_after_settling_new_objects_begin_new_pools() -> None:
    fresh, made = said(SETTLED)
    assert fresh >= 0.8 * made, "but for what the look itself made room for"
