"""Handlers that a test registers, and a runner for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from workerctl.handler import Handler, handlers, job
from workerctl.worker.runner import Runner


@pytest.fixture
def handler() -> Iterator[Callable[[Callable[..., Any]], Handler]]:
    known = dict(handlers())

    def register(function: Callable[..., Any], **options: Any) -> Handler:
        job(f"test.{function.__name__}", **options)(function)
        return handlers()[f"test.{function.__name__}"]

    yield register
    for kind in set(handlers()) - set(known):
        cast(dict[str, Handler], handlers()).pop(kind)


@pytest.fixture
def runner() -> Iterator[Runner]:
    made = Runner(100)
    yield made
    made.close()
