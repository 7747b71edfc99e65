"""What @job itself refuses, where the function is written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from worker_runs import Point

from workerctl.handler import Context, job


def _celerys(key: str, size: int = 256) -> None: ...
def _two_needed(payload: dict[str, Any], ctx: Context, bucket: Any) -> None: ...
def _keyword_needed(payload: dict[str, Any], *, bucket: Any) -> None: ...
def _method(self: Any, payload: dict[str, Any]) -> None: ...
def _nothing() -> None: ...
def _generator(payload: dict[str, Any]) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_celerys, "fields of the payload"),
        (_two_needed, "fields of the payload"),
        (_keyword_needed, "fields of the payload"),
        (_method, "a method"),
        (_nothing, "no payload"),
        (_generator, "yields"),
    ],
)
def test_a_function_that_cannot_handle_a_job_is_refused_where_it_is_written(
    handler: Any, function: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=rf"takes \(payload\) or \(payload, ctx\).*{words}"):
        handler(function)


def test_job_without_its_kind_says_how_it_is_written() -> None:
    with pytest.raises(TypeError, match=r'@job\("image.make"\)'):
        job(_nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch_wait_seconds": 1}, {"batch": 5, "batch_wait_seconds": -1}])
def test_a_batch_that_cannot_be_is_refused_where_it_is_written(handler: Any, options: dict[str, Any]) -> None:
    def many(payloads: list[Point]) -> None: ...

    with pytest.raises(ValueError, match="batch"):
        handler(many, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": 99999},
        {"timeout_seconds": 0},
        {"timeout_seconds": math.nan},
        {"queue": ""},
    ],
)
def test_a_job_that_no_queue_takes_is_refused_where_it_is_written(handler: Any, options: dict[str, Any]) -> None:
    def one(payload: Point) -> None: ...

    with pytest.raises(ValueError, match=next(iter(options))):
        handler(one, **options)
