"""Contexts for handlers: real local storage, and a real database where a test asks for one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from workerctl.broker.connection import connect
from workerctl.handler import Context, Job
from workerctl.settings import Settings
from workerctl.storage import Storage
from workerctl.storage.local import LocalStorage


@dataclass
class Services:
    """What a worker lends, as far as the shipped jobs use it."""

    storage: Storage
    database_url: str | None = None
    http: Any = field(default=None, init=False)
    settings: Any = field(default_factory=Settings)

    def database(self) -> AbstractContextManager[psycopg.Connection[Any]]:
        assert self.database_url is not None, "this test asked for no database"
        return connect(self.database_url, application="test")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path / "storage")


@pytest.fixture
def context(storage: Storage) -> Callable[..., Context]:
    """Makes a context: `context("novel.split", plan="free")`."""

    def make(kind: str, *, job_id: int = 7, settings: Any = None, **job: Any) -> Context:
        return Context(Job(job_id, kind, **job), Services(storage, settings=settings or Settings()))

    return make


@pytest.fixture
def queue_context(queue: psycopg.Connection[Any], database_url: str, storage: Storage) -> Callable[..., Context]:
    """Like `context`, with a database behind `ctx.database()`."""

    def make(kind: str, *, job_id: int = 7, **job: Any) -> Context:
        return Context(Job(job_id, kind, **job), Services(storage, database_url))

    return make
