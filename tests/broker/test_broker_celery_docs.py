"""docs/from-celery.md: its Python runs, its SQL and TOML are understood."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import psycopg
from broker_pages import blocks, python_run

from workerctl.handler import handlers
from workerctl.settings import load

PAGE = "from-celery.md"


def test_every_python_block_runs(queue: psycopg.Connection[Any]) -> None:
    with python_run(PAGE, conn=queue) as page:
        assert set(handlers()) >= {"shop.thumbnail", "shop.album", "shop.publish"}
        assert len({page["one"], page["later"], page["once"], *page["many"]}) == 13


def test_its_sql_enqueues(queue: psycopg.Connection[Any]) -> None:
    for block in blocks(PAGE, "sql"):
        assert queue.execute(block).fetchone() is not None


def test_its_settings_are_ones(tmp_path: Path) -> None:
    text = "\n".join(blocks(PAGE, "toml"))
    (tmp_path / "workerctl.toml").write_text(text)
    settings = load(None, None, {}, tmp_path).settings
    assert settings.limits == tomllib.loads(text)["limits"]
    assert settings.pools["pictures"].queues == ("pictures",)
    assert settings.schedule["cleanup"].timezone == "Europe/Berlin"
