"""A role that may not do what is asked: one line that says so and what to do, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from workerctl.contract import Exit


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
