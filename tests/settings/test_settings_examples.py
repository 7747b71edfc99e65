"""The configurations that ship beside the reference are usable as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerctl.settings import load

CONFIG = Path(__file__).parents[2] / "config"
EXAMPLES = ("small-vps.toml", "production.toml", "fleet.toml")


@pytest.mark.parametrize("name", EXAMPLES)
def test_config_check_finds_nothing_to_say(name, call, tmp_path):
    url = "postgresql://workerctl:secret@db.example/queue"
    done = call("-c", CONFIG / name, "--home", tmp_path, "config", "check", DATABASE_URL=url)
    assert (done.returncode, done.stderr) == (0, f"{CONFIG / name}: fine\n"), done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_key_of_an_example_says_something(name, tmp_path):
    """A key that only repeats a default in the table of a pool or of the supervisor would be read as a decision."""
    loaded = load(CONFIG / name, None, {}, tmp_path)
    assert [key for key, origin in loaded.origins.items() if origin != "default"]


def test_the_small_machine_has_room_for_what_its_workers_may_take(tmp_path):
    settings = load(CONFIG / "small-vps.toml", None, {}, tmp_path).settings
    pool = settings.pools["default"]
    hard_bytes = pool.max_memory_hard_bytes or int(1.25 * pool.max_memory_bytes)
    assert isinstance(pool.instances, int)
    assert pool.instances * hard_bytes + (150 << 20) < 1 << 30
