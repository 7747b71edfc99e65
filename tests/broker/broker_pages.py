"""What the tests of a page share: its blocks by language, and its Python run in a module of its own."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from workerctl.handler import Handler, handlers

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    """Every block of this language in docs/PAGE; there is one at least."""
    found = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found


@contextmanager
def python_run(page: str, **names: Any) -> Iterator[dict[str, Any]]:
    """The names after all Python blocks of a page have run, in order; its kinds are forgotten afterwards."""
    known = set(handlers())
    module = types.ModuleType("page")
    content = vars(module) | names
    sys.modules["page"] = module  # dataclasses look their module up
    try:
        for block in blocks(page, "python"):
            exec(compile(block, f"docs/{page}", "exec"), content)
        yield content
    finally:
        del sys.modules["page"]
        for kind in set(handlers()) - known:
            cast(dict[str, Handler], handlers()).pop(kind)
