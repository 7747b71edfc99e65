"""What producers are refused, and in which words."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from workerctl.handler import Refused
from workerctl.producer import enqueue, enqueue_async, enqueue_many

Queue = psycopg.Connection[Any]


def test_what_the_queue_refuses(queue: Queue) -> None:
    with pytest.raises(Refused, match="over 1 MiB"):
        enqueue("a", {"text": "x" * 1024 * 1024}, conn=queue)
    with pytest.raises(Refused, match="NUL"):
        enqueue("a", {"text": "a\x00b"}, conn=queue)
    with pytest.raises(Refused, match="priority 101"):
        enqueue("a", priority=101, conn=queue)
    with pytest.raises(Refused, match="unknown option 'prioriy'"):
        enqueue_many([{"kind": "a", "prioriy": 1}], conn=queue)
    with pytest.raises(Refused, match="a kind is a text"):
        enqueue("", conn=queue)
    with pytest.raises(Refused, match="run_at 'soon' is no datetime"):
        enqueue("a", run_at="soon", conn=queue)
    with pytest.raises(psycopg.errors.CheckViolation):
        queue.execute("SELECT workerctl.enqueue('a', to_jsonb(repeat('x', 1048577)))")


@pytest.mark.parametrize("conn", ["postgresql://h/db", object()])
def test_what_is_no_connection_is_said_with_what_is_one(conn: Any) -> None:
    with pytest.raises(TypeError, match=r"conn= is a psycopg\.Connection, not .*driver_connection"):
        enqueue("a", conn=conn)
    with pytest.raises(TypeError, match=r"conn= is a psycopg\.AsyncConnection"):
        asyncio.run(enqueue_async("a", conn=conn))


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("a", r"a job is \(kind, payload\)"),
        (("a", {}, 5), r"a job is \(kind, payload\)"),
        ({"payload": {}}, r"a job is \(kind, payload\)"),
        ({"kind": "a", "priority": "high"}, "priority 'high' is not a whole number between -100 and 100"),
        ({"kind": "a", "priority": 1.5}, "priority 1.5 is not a whole number"),
        ({"kind": "a", "max_attempts": 0}, "max_attempts 0 is not a whole number between 1 and 1000"),
    ],
)
def test_what_is_no_job_is_refused_in_words(queue: Queue, job: Any, words: str) -> None:
    with pytest.raises(Refused, match=words):
        enqueue_many([job], conn=queue)
