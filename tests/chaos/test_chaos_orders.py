"""Orders through the simulated provider while calls fail and workers are killed: a small run, and the whole one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def chaos(*arguments: str, seconds: float) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run([sys.executable, SCRIPTS / "chaos", "orders", *arguments], capture_output=True, text=True,
                          timeout=seconds, check=False, env=environment)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_few_orders_are_complete_and_paid_once_though_a_worker_is_killed() -> None:
    assert "every promise holds" in chaos("--small", "--seed", "11", seconds=120)


@pytest.mark.long
@pytest.mark.parametrize("provider", ["openai", "fal"])
def test_twenty_orders_are_complete_and_paid_once_though_a_worker_is_killed_every_ten_seconds(provider: str) -> None:
    assert "every promise holds" in chaos("--seed", "11", "--provider", provider, seconds=600)
