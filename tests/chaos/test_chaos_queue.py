"""The script that breaks the queue, for a quarter of a minute; and that its faults come from the seed alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SEED = 11


def test_a_seed_gives_the_same_faults_and_a_longer_run_begins_with_those_of_a_shorter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from disorder.plan import PACK, faults

    assert faults(SEED, 60) == faults(SEED, 60) != faults(SEED + 1, 60)
    longer = faults(SEED, 300)
    assert longer[: len(faults(SEED, 60))] == faults(SEED, 60)
    assert {(fault.target, fault.deed) for fault in longer} == set(PACK)


@pytest.mark.long
def test_the_queue_keeps_its_promises_while_it_is_broken_for_a_quarter_of_a_minute() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        [sys.executable, SCRIPTS / "chaos", "queue", "--seconds", "15", "--jobs", "1000", "--seed", str(SEED)],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all invariants hold" in done.stdout
