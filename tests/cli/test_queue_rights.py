"""A role that may not do what is asked: one line that says so and what to do, no traceback."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from workerctl import QueueFull, enqueue, enqueue_many
from workerctl.broker.limits import configure_limits
from workerctl.contract import Exit

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture
def stranger_url(queue: psycopg.Connection[Any], database_url: str, embedded_server: Any) -> Iterator[str]:
    """Somebody who may connect and nothing else."""
    with embedded_server.connect(superuser=True) as root:
        root.execute("CREATE ROLE stranger LOGIN PASSWORD 'fremd'")
        try:
            yield urlsplit(database_url)._replace(netloc="stranger:fremd@").geturl()
        finally:
            root.execute("DROP ROLE stranger")


@pytest.mark.parametrize("command", ["jobs list", "enqueue a", "limits list", "migrate", "migrate --check"])
def test_a_role_without_rights_is_told_in_a_line(stranger_url: str, call: Any, command: str) -> None:
    done = call(*command.split(), DATABASE_URL=stranger_url)
    assert done.returncode == Exit.UNUSABLE
    [line] = done.stderr.splitlines()
    assert "refuses: permission denied for schema workerctl; use the role that owns the schema" in line


def test_doctor_says_what_such_a_role_needs(stranger_url: str, call: Any) -> None:
    done = call("doctor", DATABASE_URL=stranger_url)
    assert "permission denied for schema workerctl -> use the role that owns the schema workerctl, or " in done.stdout


def test_a_producer_needs_no_more_than_the_rights_that_operations_names(
    stranger_url: str, queue: psycopg.Connection[Any]
) -> None:
    [grants] = re.findall(r"```sql\n((?:GRANT [^`]+\n)+)```", OPERATIONS.read_text())
    configure_limits(queue, {"user:{user_id}": 1, "a": 1}, {"user:{user_id}": (5, 60.0)}, {"a": 3})
    grants = grants.replace("producer", "stranger")
    queue.execute(grants.encode())
    try:
        with psycopg.connect(stranger_url, autocommit=True) as connection:
            enqueue("a", user_id="u", unique_key="k", conn=connection)
            enqueue_many([{"kind": "new", "user_id": "v"}] * 2, conn=connection)
            with pytest.raises(QueueFull):
                enqueue_many([{"kind": "a"}] * 3, conn=connection)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DELETE FROM workerctl.live")
    finally:
        queue.execute(grants.replace("GRANT", "REVOKE").replace(" TO ", " FROM ").encode())
