"""characters.extract, its shares and their merging, with the queue's own tables."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from workerctl.handler import Context, Fail, handlers, validate
from workerctl.jobs import characters
from workerctl.jobs.novel import NovelSplit, split
from workerctl.jobs.providers.characters import finder_for
from workerctl.jobs.report import Report
from workerctl.storage import Storage

MakeContext = Callable[..., Context]
SPEECH = "张飞大怒曰：“我去！”关羽曰：“不可。”张飞曰：“快走！”\n" * 20
NOVEL = (
    f"序\n\n刘备曰：“序。”\n\n第一回 雨\n{SPEECH}第二回 雪\n{SPEECH}曹操曰：“追！”\n曹操笑曰：“追！”\n曹操曰：“好。”\n"
)


def run(kind: str, payload: object, ctx: Context) -> dict[str, Any]:
    handler = handlers()[kind]
    found = handler.function(validate(handler, payload), ctx)
    return asyncio.run(found) if handler.is_async else found


@pytest.fixture
def manifest(context: MakeContext, storage: Storage) -> str:
    storage.put("novel.txt", NOVEL.encode())
    return split(NovelSplit(key="novel.txt", title="雨雪"), context("novel.split"))["manifest"]


def ended(queue: psycopg.Connection[Any], index: int, status: str, result: object, error: str | None = None) -> None:
    """A child of job 7 that has ended, as the queue keeps it."""
    queue.execute(
        "INSERT INTO workerctl.history (id, status, kind, queue, priority, max_attempts, failures, deaths, attempt,"
        " child_index, parent_id, children_total, children_succeeded, children_dead, children_cancelled, run_at,"
        " created_at, payload, result, error) VALUES (%s, %s, 'characters.chapters', 'text', 0, 3, 0, 0, 1, %s, 7,"
        " 0, 0, 0, 0, now(), now(), '{}', %s, %s)",
        [100 + index, status, index, Jsonb(result) if result is not None else None, error],
    )


def test_a_novel_is_shared_out_observed_and_merged(
    queue: psycopg.Connection[Any], queue_context: MakeContext, manifest: str, storage: Storage
):
    pytest.importorskip("jieba", reason="the extra `content` is not installed")
    ctx = queue_context("characters.extract", queue="text")
    assert run("characters.extract", {"manifest": manifest}, ctx) == {
        "manifest": manifest, "language": "zh", "sections": 2, "shares": 1,
    }  # fmt: skip
    for index, child in enumerate(ctx.enqueued):
        assert child["child"]
        share = run(child["kind"], child["payload"], queue_context(child["kind"], job_id=100 + index))
        assert share["provider"] == "jieba-local"
        ended(queue, index, "succeeded", share)
    ended(queue, len(ctx.enqueued), "dead", None, "boom")

    assert ctx.done_next is not None
    result = run(ctx.done_next["kind"], ctx.done_next["payload"], queue_context("characters.merge", job_id=9))
    assert (result["found"], result["failed_shares"], result["provider"]) == (3, 1, "jieba-local")
    assert [(person["name"], person["mentions"]) for person in result["top"]] == [
        ("张飞", 80),
        ("关羽", 40),
        ("曹操", 3),
    ]
    report = msgspec.json.decode(storage.get(result["characters"]), type=Report)
    first = report.characters[0]
    assert (first.first.number, first.last.number, first.sections, first.together) == (1, 2, 2, {"关羽": 40})
    assert (report.title, report.characters[2].first.title) == ("雨雪", "雪")


def test_merging_shares_that_all_failed_fails_with_their_reasons(
    queue: psycopg.Connection[Any], queue_context: MakeContext, manifest: str
):
    payload = {"manifest": manifest, "language": "zh", "parent": 7}
    with pytest.raises(Fail, match="no share of job 7 succeeded: it has no children"):
        run("characters.merge", payload, queue_context("characters.merge"))
    ended(queue, 0, "dead", None, "boom")
    ended(queue, 1, "cancelled", None, "cancelled by request")
    with pytest.raises(Fail, match="no share of job 7 succeeded: boom; cancelled by request"):
        run("characters.merge", payload, queue_context("characters.merge"))


def test_english_is_told_from_chinese(context: MakeContext, storage: Storage):
    storage.put("novel.txt", ("CHAPTER I\n\n" + '"No," said Ahab to 船长 Starbuck.\n\n' * 50).encode())
    manifest = split(NovelSplit(key="novel.txt"), context("novel.split"))["manifest"]
    ctx = context("characters.extract")
    assert run("characters.extract", {"manifest": manifest}, ctx)["language"] == "en"
    share = run("characters.chapters", ctx.enqueued[0]["payload"], context("characters.chapters"))
    assert share["provider"] == finder_for("en").name


def test_a_wrong_manifest_fails_for_good(context: MakeContext, storage: Storage, manifest: str):
    storage.put("other.json", b'{"sections": 5}')
    storage.put("noise", b"\xff\xfe")
    for key, said in (
        ("none", "no object 'none'"),
        ("other.json", "not one that novel.split wrote"),
        ("noise", "not one"),
    ):
        with pytest.raises(Fail, match=said):
            run("characters.extract", {"manifest": key}, context("characters.extract"))
    with pytest.raises(Fail, match="has no section 99"):
        payload = {"manifest": manifest, "language": "en", "sections": [99]}
        run("characters.chapters", payload, context("characters.chapters"))


@given(st.lists(st.integers(1, 300_000), min_size=1, max_size=300))
def test_shares_cover_every_section_once_and_are_of_about_the_same_size(sizes: list[int]):
    groups = characters.share_out(sizes)
    assert [place for group in groups for place in group] == list(range(len(sizes)))
    assert all(groups)
    assert len(groups) <= characters.GROUPS
    fair = sum(sizes) / max(1, min(characters.GROUPS, sum(sizes) // characters.GROUP_CHARACTERS))
    assert all(sum(sizes[place] for place in group) <= fair + 2 * max(sizes) for group in groups)
