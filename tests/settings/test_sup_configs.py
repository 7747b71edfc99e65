"""The configurations that come along work as they are, and say what their names promise."""

from __future__ import annotations

from pathlib import Path

import pytest

from workerctl.settings import Settings, load

CONFIGS = sorted((Path(__file__).parents[2] / "config").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_shipped_configuration_loads_without_a_note(path: Path, tmp_path: Path) -> None:
    assert load(path, tmp_path / "home", {}, tmp_path).warnings == []


def settings(name: str, tmp_path: Path) -> Settings:
    return load(CONFIGS[0].with_name(name), tmp_path / "home", {}, tmp_path).settings


def test_in_production_little_is_logged_and_slow_jobs_always(tmp_path: Path) -> None:
    logs = settings("production.toml", tmp_path).logs
    assert (logs.level, logs.sample_successes, logs.slow_seconds) == ("warn", 0.1, 1.0)


def test_on_a_small_server_one_worker_leaves_room_for_the_database(tmp_path: Path) -> None:
    small = settings("small-vps.toml", tmp_path)
    assert small.supervisor.instances == 1 and small.database_url is None
    assert small.logs.max_total_bytes <= 200 << 20
