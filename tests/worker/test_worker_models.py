"""Payloads and results that are pydantic models, as FastAPI's users have them."""

from __future__ import annotations

import datetime as dt
import importlib.util
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from workerctl.broker.exchange import Claimed, Ended
from workerctl.handler import Context, Handler, InvalidPayload, Job, Services, decode, to_json, validate
from workerctl.worker.outcome import Returned, settle

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pydantic") is None, reason="no pydantic here")


@pytest.fixture
def size() -> Any:
    import pydantic

    return pydantic.create_model("Size", key=(str, ...), sides=(list[int], [256]))


def handler(kind: Any, *, batch: int = 1) -> Handler:
    def handle(payload: Any) -> Any: ...

    handle.__annotations__["payload"] = kind
    return Handler("size.make", handle, "q", None, None, batch)


def test_a_model_is_read_from_json_and_from_plain_types(size: Any) -> None:
    expected = size(key="图.png", sides=[1])
    assert decode(handler(size), msgspec.Raw('{"key": "图.png", "sides": ["1"]}'.encode())) == expected
    assert validate(handler(size), {"key": "图.png", "sides": [1]}) == expected
    assert decode(handler(list[size], batch=5), msgspec.Raw(b'{"key": "a"}')) == size(key="a")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, r"Field required - at `\$.key`"),
        ({"key": "a", "sides": [1, "x"]}, r"unable to parse string as an integer - at `\$.sides\[1\]`"),
    ],
)
def test_a_model_that_does_not_fit_is_one_line_with_the_path(size: Any, content: Any, words: str) -> None:
    for read in (lambda: validate(handler(size), content),
                 lambda: decode(handler(size), msgspec.Raw(msgspec.json.encode(content)))):  # fmt: skip
        with pytest.raises(InvalidPayload, match=words) as caught:
            read()
        assert "\n" not in str(caught.value)


def test_a_model_is_written_as_payload_and_as_result(size: Any) -> None:
    assert to_json({"sizes": [size(key="a")]}) == {"sizes": [{"key": "a", "sides": [256]}]}
    created = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    job = Claimed(7, "k", "q", 2, 0, 0, 3, 0, None, None, None, created, msgspec.Raw(b"{}"))
    context = Context(Job(7, "k"), cast(Services, SimpleNamespace()))
    settled = settle(job, Returned(size(key="a")), context, 15, 0.0)
    assert settled == Ended(7, 2, "succeeded", msgspec.Raw(b'{"key":"a","sides":[256]}'))


def test_what_is_no_model_is_refused_as_before() -> None:
    with pytest.raises(InvalidPayload, match="Encoding objects of type Loose is unsupported"):
        to_json(Loose())
    with pytest.raises(InvalidPayload, match="Expected `Loose`"):
        validate(handler(Loose), {})


class Loose:
    """A class of a user's that says nothing of its fields."""
