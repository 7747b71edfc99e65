"""Orders through the simulated provider while calls fail and workers are killed: a small run, and the whole one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


RUN = "import sys; from disorder import orders; sys.exit(orders.run(orders.{plan}({seed}, {provider!r}), False))"
SEED = 11


def chaos(plan: str, provider: str, seconds: float) -> str:
    """What `scripts/chaos orders` prints, without its look after the virtual environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    program = RUN.format(plan=plan, seed=SEED, provider=provider)
    with subprocess.Popen([sys.executable, "-c", program], env=environment | {"PYTHONPATH": str(SCRIPTS)}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:  # fmt: skip
        try:
            told, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # it stops what it started
            told, _ = process.communicate()
    assert process.returncode == 0, told
    return told


def test_a_few_orders_are_complete_and_paid_once_though_a_worker_is_killed() -> None:
    assert "every promise holds" in chaos("small", "openai", seconds=150)


@pytest.mark.long
@pytest.mark.parametrize("provider", ["openai", "fal"])
def test_twenty_orders_are_complete_and_paid_once_though_a_worker_is_killed_every_ten_seconds(provider: str) -> None:
    assert "every promise holds" in chaos("whole", provider, seconds=600)
