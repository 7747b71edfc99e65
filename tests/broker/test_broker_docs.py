"""docs/jobs.md: its Python runs, its SQL and TOML are understood."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import psycopg
from broker_pages import blocks, python_run

from workerctl.handler import handlers
from workerctl.settings import load

PAGE = "jobs.md"
KINDS = {"thumbnail.make", "invoice.send", "album.make", "album.publish", "metric.store", "video.wait"}


def test_every_python_block_runs(queue: psycopg.Connection[Any], tmp_path: Path) -> None:
    with python_run(PAGE, conn=queue) as page:
        assert set(handlers()) >= KINDS
        assert len(page["job_ids"]) == 3
        for test in [value for name, value in page.items() if name.startswith("test_")]:
            test(tmp_path)


def test_its_sql_enqueues(queue: psycopg.Connection[Any]) -> None:
    for block in blocks(PAGE, "sql"):
        assert queue.execute(block).fetchone() is not None


def test_its_settings_are_ones(tmp_path: Path) -> None:
    text = "\n".join(blocks(PAGE, "toml"))
    (tmp_path / "workerctl.toml").write_text(text)
    settings = load(None, None, {}, tmp_path).settings
    assert settings.limits == tomllib.loads(text)["limits"]
    assert settings.schedule["nightly"].missed == "once"
