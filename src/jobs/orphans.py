"""`storage.orphans`: objects that no job speaks of any more, counted, and deleted where that is asked for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from .. import Context, job
from ..handler import WrongField
from ..storage import ObjectMissing, ObjectTooLarge

if TYPE_CHECKING:
    from ..storage import Storage

OBJECTS_A_RUN = 200_000  # candidates held at once: about 40 MB
JOBS_A_PAGE = 1_000
DOCUMENT_LIMIT_BYTES = 16 * 1024 * 1024  # a manifest speaks of objects too
EXAMPLES = 20

_JOBS = """
  SELECT id, payload, result
    FROM workerctl.job
   WHERE id > %s
ORDER BY id
   LIMIT %s
"""


class Orphans(msgspec.Struct, frozen=True, kw_only=True):
    """Objects below `prefix` that are older than so many days. Without `delete` they are only counted."""

    prefix: Annotated[str, Meta(max_length=512)] = ""
    older_than_days: Annotated[float, Meta(ge=1)] = 30
    delete: bool = False


def check_orphans(payload: Orphans, _settings: Any) -> None:
    """Raises WrongField: nobody empties a whole bucket by leaving a field out."""
    if payload.delete and not payload.prefix:
        raise WrongField("prefix", "say below which prefix objects may be deleted")


@job("storage.orphans", queue="maintenance", timeout_seconds=3600, max_attempts=1, hand_back=True, check=check_orphans)
def orphans(payload: Orphans, ctx: Context) -> dict[str, Any]:
    """What no payload, no result and no JSON document that these name speaks of, as long as retention keeps jobs."""
    before = _fleet_now(ctx) - dt.timedelta(days=payload.older_than_days)
    old = (entry for entry in ctx.storage.list(payload.prefix) if entry.modified_at < before)
    unclaimed = {entry.key: entry.size_bytes for entry in islice(old, OBJECTS_A_RUN)}
    whole = next(old, None) is None
    seen = len(unclaimed)
    documents: set[str] = set()
    for text in _texts_of_jobs(ctx):
        unclaimed.pop(text, None)
        if text.endswith(".json") and text not in documents:
            documents.add(text)
            for inner in _texts_of_document(ctx.storage, text):
                unclaimed.pop(inner, None)
    if payload.delete:
        for number, key in enumerate(unclaimed):
            ctx.raise_if_cancelled()
            ctx.storage.delete(key)
            ctx.progress(number + 1, len(unclaimed))
    return {
        "objects": seen,
        "orphans": len(unclaimed),
        "bytes": sum(unclaimed.values()),
        "deleted": len(unclaimed) if payload.delete else 0,
        "examples": list(islice(unclaimed, EXAMPLES)),
        "whole": whole,  # false: there are more old objects than one run looks at; the next begins with the same
    }


def _fleet_now(ctx: Context) -> dt.datetime:
    """By the database's clock: with this machine's a wrong one would make young objects old."""
    with ctx.database() as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    now: dt.datetime = row[0]
    return now


def _texts_of_jobs(ctx: Context) -> Iterator[str]:
    last = 0
    while True:
        ctx.raise_if_cancelled()
        with ctx.database() as connection:
            page = connection.execute(_JOBS, [last, JOBS_A_PAGE]).fetchall()
        for last, payload, result in page:  # noqa: B007 - the next page begins after it
            yield from _texts(payload)
            yield from _texts(result)
        if len(page) < JOBS_A_PAGE:
            return


def _texts_of_document(storage: Storage, key: str) -> Iterator[str]:
    from ..storage import InvalidKey

    try:
        content = storage.get(key, limit_bytes=DOCUMENT_LIMIT_BYTES)
        return _texts(msgspec.json.decode(content))
    except (ObjectMissing, ObjectTooLarge, InvalidKey, msgspec.DecodeError):
        return iter(())


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from _texts(part)
        case list():
            for part in value:
                yield from _texts(part)
