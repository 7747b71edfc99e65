"""三国演义 and Moby Dick, whole: chapters found exactly, and who is in them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from novels import novel

from workerctl.handler import Context
from workerctl.jobs.manifest import Manifest, read_manifest, read_section
from workerctl.jobs.novel import NovelSplit, split
from workerctl.jobs.providers.characters import finder_for
from workerctl.jobs.text.mentions import Tally

MakeContext = Callable[..., Context]


def manifest_of(ctx: Context, name: str) -> tuple[dict[str, Any], Manifest]:
    result = split(NovelSplit(path=str(novel(name))), ctx)
    return result, read_manifest(ctx.storage, result["manifest"])


def chapter_numbers(manifest: Manifest) -> list[int | None]:
    return [section.number for section in manifest.sections if section.kind == "chapter"]


def test_sanguo_has_its_120_chapters(context: MakeContext):
    ctx = context("novel.split")
    result, manifest = manifest_of(ctx, "sanguo.txt")
    assert result["chapters"] == 120
    assert chapter_numbers(manifest) == list(range(1, 121))
    assert manifest.sections[0].title == "宴桃园豪杰三结义　斩黄巾英雄首立功"
    whole = "".join(read_section(ctx.storage, section) for section in manifest.sections)
    assert whole == novel("sanguo.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8-sig"])
def test_sanguo_has_its_chapters_in_every_encoding(context: MakeContext, encoding: str):
    ctx = context("novel.split")
    text = novel("sanguo.txt").read_text(encoding="utf-8").replace("\n", "\r\n")
    ctx.storage.put("sanguo.txt", text.encode(encoding))
    assert split(NovelSplit(key="sanguo.txt"), ctx)["chapters"] == 120


def test_moby_dick_has_its_135_chapters_an_epilogue_and_front_matter(context: MakeContext):
    result, manifest = manifest_of(context("novel.split"), "moby-dick.txt")
    assert result["sections"] == {"chapter": 135, "epilogue": 1, "front": 3}
    assert chapter_numbers(manifest) == list(range(1, 136))
    assert [line.split()[0] for line in result["front_matter"]] == ["CONTENTS", "ETYMOLOGY.", "EXTRACTS."]


def top_of(ctx: Context, manifest: Manifest, language: str) -> list[str]:
    told = [section for section in manifest.sections if section.kind != "front"]
    finder = finder_for(language)  # type: ignore[arg-type]
    found = finder.decide([finder.observe(read_section(ctx.storage, section)) for section in told])
    tally = Tally((person.name, person.names) for person in found)
    for section in told:
        tally.add(section.index, read_section(ctx.storage, section))
    counts = Counter({name: mentions.total for name, mentions in tally.mentions.items()})
    return [name for name, _ in counts.most_common(20)]


def test_the_20_most_mentioned_of_sanguo_are_persons_of_the_dictionary(context: MakeContext):
    pytest.importorskip("jieba", reason="the extra `content` is not installed")
    ctx = context("characters.extract")
    _, manifest = manifest_of(ctx, "sanguo.txt")
    judge = json.loads(novel("sanguo_judge.json").read_text(encoding="utf-8"))
    persons = {name for name, kind in judge["type"].items() if kind == "人名"}
    persons |= {alias for name in persons for alias in judge["mention"].get(name, ())}
    started = time.process_time()
    top = top_of(ctx, manifest, "zh")
    assert time.process_time() - started < 30
    assert sum(name in persons for name in top) >= 18, top
    assert {"刘备", "诸葛亮", "曹操", "关羽", "张飞", "赵云"} <= set(top)


def test_the_crew_of_the_pequod_is_found(context: MakeContext):
    ctx = context("characters.extract")
    _, manifest = manifest_of(ctx, "moby-dick.txt")
    top = top_of(ctx, manifest, "en")
    assert {"Ahab", "Stubb", "Queequeg", "Starbuck", "Flask", "Peleg", "Bildad", "Tashtego", "Daggoo"} <= set(top)
    assert not {"Pequod", "Nantucket", "God", "Leviathan"} & set(top)
