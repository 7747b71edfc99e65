"""What handlers did outside their settlements: what of it was fenced, and what attempts without a claim left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from disorder.records import Record

SHOWN = 10
SETTLED = "SELECT id, attempt, result ->> 'key' FROM workerctl.history WHERE kind = 'store' AND status = 'succeeded'"
REMEMBERED = "SELECT job_id, value::integer FROM workerctl.memory WHERE key = 'kept by'"


class Effects(NamedTuple):
    """Of the kind `store`: what its results and memory say, and the objects that were left."""

    wrong_objects: list[str]  # a result names an object that is not of the attempt that counted
    wrong_memory: list[str]  # a job remembers what an attempt said that did not count
    refused: int  # times that an attempt was told that its claim is lost
    of_others: int  # objects of attempts that did not count, under names of their own
    replaced: int  # objects named after the job alone that another attempt wrote last


def effects(connection: psycopg.Connection[Any], storage: Path, records: Iterable[Record]) -> Effects:
    """Everything that was written, beside what counts."""
    counted = {job: (attempt, key) for job, attempt, key in connection.execute(SETTLED).fetchall()}
    memory = dict(connection.execute(REMEMBERED).fetchall())
    objects = {path.name for path in (storage / "by-attempt").glob("*")}
    return Effects(
        [f"{job} attempt {attempt}: {key}" for job, (attempt, key) in counted.items()
         if _text(storage / key) != f"{job} {attempt}"],
        [f"{job} attempt {attempt}: {memory.get(job)}" for job, (attempt, _) in counted.items()
         if memory.get(job) != attempt],
        sum(record.word == "refused" for record in records),
        len(objects - {Path(key).name for _, key in counted.values()}),
        sum(_text(storage / "in-place" / str(job)) != f"{job} {attempt}" for job, (attempt, _) in counted.items()),
    )  # fmt: skip


def tell(found: Effects, say: Callable[[str], None]) -> list[str]:
    """Say the counts; the fenced ones are promises."""
    say(f"fenced effects after a lost claim: storage {len(found.wrong_objects)}, ctx {len(found.wrong_memory)}"
        f" ({found.refused} were refused)")  # fmt: skip
    say(f"unfenced effects: {found.of_others} objects of attempts that did not count, {found.replaced} named without"
        " their attempt and replaced by such a one")  # fmt: skip
    names = {"a result's object is its own attempt's": found.wrong_objects,
             "a job remembers what counted": found.wrong_memory}  # fmt: skip
    return [f"{name}: {len(rows)} broken: {'; '.join(rows[:SHOWN])}" for name, rows in names.items() if rows]


def _text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None
