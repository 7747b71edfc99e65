"""The script that breaks the processes of a house, for half a minute; and that its blows come from the seed alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SEED = 7


def test_a_seed_gives_the_same_blows_and_a_longer_run_has_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from disorder.blows import PACK, blows

    assert blows(SEED, 60) == blows(SEED, 60) != blows(SEED + 1, 60)
    longer = blows(SEED, 300)
    assert longer[: len(blows(SEED, 60))] == blows(SEED, 60)
    assert {blow.deed for blow in longer} == {deed for _, deed, _, _ in PACK}


def test_a_slow_machine_is_waited_for_while_jobs_end_and_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from disorder.patience import MOST_SECONDS, STILL_SECONDS, Patience

    now = 0.0
    patience = Patience(lambda: now)
    for ended in range(5):
        now += STILL_SECONDS - 1
        assert patience.lasts(10, ended)
    now += STILL_SECONDS
    assert not patience.lasts(10, 4), "nothing more has ended"
    assert patience.lasts(10, 5)
    now = MOST_SECONDS
    assert not patience.lasts(10, 6)


@pytest.mark.long
def test_a_house_stands_and_no_job_is_lost_after_half_a_minute_of_blows() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    done = subprocess.run(
        [sys.executable, SCRIPTS / "chaos", "processes", "--seconds", "30", "--jobs", "400", "--seed", str(SEED)],
        capture_output=True, text=True, timeout=400, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all invariants hold" in done.stdout
