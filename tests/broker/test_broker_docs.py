"""docs/jobs.md: its Python runs, its SQL and TOML are understood."""

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

PAGE = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_python_block_runs(queue: psycopg.Connection[Any], tmp_path: Path) -> None:
    known = set(handlers())
    module = types.ModuleType("jobs_page")
    page = vars(module) | {"conn": queue}
    sys.modules["jobs_page"] = module  # dataclasses look their module up
    try:
        for block in blocks("python"):
            exec(compile(block, "docs/jobs.md", "exec"), page)
        assert {"thumbnail.make", "invoice.send", "album.make", "album.publish", "metric.store", "video.wait"} <= set(
            handlers()
        )
        assert len(page["job_ids"]) == 3
        for test in [value for name, value in page.items() if name.startswith("test_")]:
            test(tmp_path)
    finally:
        del sys.modules["jobs_page"]
        for kind in set(handlers()) - known:
            cast(dict[str, Handler], handlers()).pop(kind)


def test_its_sql_enqueues(queue: psycopg.Connection[Any]) -> None:
    for block in blocks("sql"):
        assert queue.execute(block).fetchone() is not None


def test_its_settings_are_ones(tmp_path: Path) -> None:
    text = "\n".join(blocks("toml"))
    (tmp_path / "workerctl.toml").write_text(text)
    settings = load(None, None, {}, tmp_path).settings
    assert settings.limits == tomllib.loads(text)["limits"]
    assert settings.schedule["nightly"].missed == "once"
