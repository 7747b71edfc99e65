"""storage.orphans: what no job speaks of is counted, and deleted only where that is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from workerctl import enqueue
from workerctl.handler import Context, InvalidPayload, handlers, validate
from workerctl.jobs.orphans import Orphans, orphans
from workerctl.storage import Storage

DAY_SECONDS = 86400.0


@pytest.fixture
def objects(storage: Storage, tmp_path: Path, queue: psycopg.Connection[Any]) -> Storage:
    """Old objects that a payload, a result and a manifest speak of, an old one and a new one that nobody does."""
    manifest = msgspec.json.encode({"chapters": [{"title": "第一回", "key": "images/in-a-manifest.txt"}]})
    for key in ("in-a-payload.png", "in-a-manifest.txt", "forgotten.png", "new.png"):
        storage.put(f"images/{key}", b"x" * 10)
    storage.put("images/manifest.json", manifest)
    storage.put("elsewhere/forgotten.png", b"x")
    for path in (tmp_path / "storage").rglob("*.*"):
        if path.name != "new.png":
            os.utime(path, (time.time() - 40 * DAY_SECONDS,) * 2)
    enqueue("some.kind", {"source": {"keys": ["images/in-a-payload.png"]}}, conn=queue)
    enqueue("some.kind", {"manifest": "images/manifest.json"}, conn=queue)
    return storage


def test_only_old_objects_that_nobody_speaks_of_are_orphans(objects: Storage, queue_context: Callable[..., Context]):
    found = orphans(Orphans(prefix="images/"), queue_context("storage.orphans"))
    assert (found["objects"], found["orphans"], found["bytes"], found["deleted"]) == (4, 1, 10, 0)
    assert found["examples"] == ["images/forgotten.png"]
    assert objects.exists("images/forgotten.png")


def test_they_are_deleted_where_that_is_asked_for(objects: Storage, queue_context: Callable[..., Context]):
    found = orphans(Orphans(prefix="images/", delete=True), queue_context("storage.orphans"))
    assert found["deleted"] == 1
    kept = {entry.key for entry in objects.list()}
    assert kept == {
        "elsewhere/forgotten.png", "images/in-a-manifest.txt", "images/in-a-payload.png", "images/manifest.json",
        "images/new.png",
    }  # fmt: skip


def test_nobody_empties_a_bucket_by_leaving_a_field_out():
    with pytest.raises(InvalidPayload, match=r"\$\.prefix"):
        validate(handlers()["storage.orphans"], {"delete": True})
