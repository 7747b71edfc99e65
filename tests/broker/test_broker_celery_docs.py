"""docs/from-celery.md: its Python runs, its SQL and TOML are understood, and its chord is one."""

from __future__ import annotations

import re
import sys
import tomllib
import types
from pathlib import Path
from typing import Any, cast

import psycopg

from workerctl.handler import Handler, handlers
from workerctl.settings import load

PAGE = (Path(__file__).parents[2] / "docs" / "from-celery.md").read_text(encoding="utf-8")
KINDS = {"shop.thumbnail", "shop.album", "shop.publish"}


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found


def test_every_python_block_runs(queue: psycopg.Connection[Any]) -> None:
    module = types.ModuleType("celery_page")
    page = vars(module) | {"conn": queue}
    sys.modules["celery_page"] = module
    try:
        for block in blocks("python"):
            exec(compile(block, "docs/from-celery.md", "exec"), page)
        assert set(handlers()) >= KINDS
        assert len({page["one"], page["later"], page["once"], *page["many"]}) == 13
    finally:
        del sys.modules["celery_page"]
        for kind in KINDS & set(handlers()):
            cast(dict[str, Handler], handlers()).pop(kind)


def test_its_sql_enqueues(queue: psycopg.Connection[Any]) -> None:
    for block in blocks("sql"):
        assert queue.execute(block).fetchone() is not None


def test_its_settings_are_ones(tmp_path: Path) -> None:
    text = "\n".join(blocks("toml"))
    (tmp_path / "workerctl.toml").write_text(text)
    settings = load(None, None, {}, tmp_path).settings
    assert settings.limits == tomllib.loads(text)["limits"]
    assert settings.pools["pictures"].queues == ("pictures",)
    assert settings.schedule["cleanup"].timezone == "Europe/Berlin"
