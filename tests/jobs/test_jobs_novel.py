"""novel.split as a handler: what it writes, returns and refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workerctl.handler import Cancel, Context, Fail, InvalidPayload, handlers, job_spec, validate
from workerctl.jobs.manifest import Manifest, read_manifest, read_section
from workerctl.jobs.novel import LOOKED_AT_BYTES, NOVEL_LIMIT_BYTES, NovelSplit, split
from workerctl.storage import Storage, Stored
from workerctl.storage.local import LocalStorage

BODY = "他走进院子，看见月光落在井边。\n\n“你来了。”她说。\n\n"
NOVEL = f"书名\n\n楔子\n{BODY}第一卷 风\n\n第一章 雨\n{BODY * 40}第二章 雪\n{BODY}尾声\n{BODY}"

MakeContext = Callable[..., Context]


def run(ctx: Context, payload: object) -> tuple[dict, Manifest]:
    result = split(validate(handlers()["novel.split"], payload), ctx)
    return result, read_manifest(ctx.storage, result["manifest"])


def whole(storage: Storage, manifest: Manifest) -> str:
    return "".join(read_section(storage, section) for section in manifest.sections)


def test_a_novel_in_storage_becomes_texts_and_a_manifest(context: MakeContext, storage: Storage):
    storage.put("novel.txt", NOVEL.encode("gb18030"))
    ctx = context("novel.split")
    result, manifest = run(ctx, {"key": "novel.txt", "title": "井", "max_tokens": 200})

    assert whole(storage, manifest) == NOVEL
    assert result == {
        "manifest": result["manifest"],
        "title": "井",
        "encoding": "gb18030",
        "characters": len(NOVEL),
        "chapters": 2,
        "sections": {"chapter": 2, "epilogue": 1, "front": 1, "prologue": 1},
        "volumes": 1,
        "parts": sum(len(section.parts) for section in manifest.sections),
        "front_matter": ["书名"],
    }
    assert [(s.index, s.kind, s.number, s.volume) for s in manifest.sections][2:4] == [
        (2, "chapter", 1, "第一卷 风"),
        (3, "chapter", 2, "第一卷 风"),
    ]
    assert ctx.progress_now == (5, 5)
    assert ctx.enqueued == []


def test_long_chapters_have_parts_that_together_are_the_chapter(context: MakeContext, tmp_path: Path):
    novel = tmp_path / "小说.txt"
    novel.write_text(NOVEL, encoding="utf-8")
    ctx = context("novel.split")
    _, manifest = run(ctx, {"path": str(novel), "max_tokens": 100})
    long = manifest.sections[2]
    text = read_section(ctx.storage, long)
    assert len(long.parts) > 5
    assert "".join(text[start:end] for start, end in long.parts) == text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["第一回 雨\n", "第二回\n", BODY, "CHAPTER I\n\n", "\r\n", "word ", "长" * 200, "\n"]),
        min_size=1,
    )
)
def test_nothing_of_a_novel_is_lost(context: MakeContext, tmp_path: Path, pieces: list[str]):
    text = "".join(pieces)
    if text.strip():
        novel = tmp_path / "novel.txt"
        novel.write_bytes(text.encode())
        ctx = context("novel.split")
        _, manifest = run(ctx, {"path": str(novel), "max_tokens": 50})
        assert whole(ctx.storage, manifest) == text.replace("\r\n", "\n")


def test_a_second_run_writes_the_same_objects(context: MakeContext, storage: Storage):
    storage.put("novel.txt", NOVEL.encode())
    first, _ = run(context("novel.split"), {"key": "novel.txt"})
    before = list(storage.list())
    second, _ = run(context("novel.split", job_id=8), {"key": "novel.txt"})
    assert (first, before) == (second, list(storage.list()))


def test_characters_are_extracted_when_asked(context: MakeContext, storage: Storage):
    storage.put("novel.txt", NOVEL.encode())
    ctx = context("novel.split", user_id="u1")
    result, _ = run(ctx, {"key": "novel.txt", "extract_characters": True})
    [job] = ctx.enqueued
    assert (job["kind"], job["payload"], job["user_id"]) == (
        "characters.extract", {"manifest": result["manifest"]}, "u1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({}, "exactly one of `key` and `path`"),
        ({"key": "a", "path": "/a"}, "exactly one of `key` and `path`"),
        ({"path": "a.txt"}, "must be absolute, not 'a.txt'"),
        ({"key": "a", "max_tokens": 0}, r"\$.max_tokens"),
        ({"key": "a", "title": 5}, r"\$.title"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_its_field(payload: dict, said: str):
    with pytest.raises(InvalidPayload, match=said):
        validate(handlers()["novel.split"], payload)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the text is empty"),
        (b"\n \r\n", "the text is empty"),
        ("第一章\n".encode() * 50 + b"\xff\xfe" + "第二章\n".encode() * 50, r"not valid UTF-8 at byte 500 \(ff fe"),
        (b"\x89PNG\r\n\x1a\n\0\0\0" + bytes(range(256)) * 40, "binary|not valid"),
    ],
)
def test_what_is_no_text_fails_for_good_and_writes_nothing(
    context: MakeContext, storage: Storage, content: bytes, said: str
):
    storage.put("novel.txt", content)
    with pytest.raises(Fail, match=said):
        run(context("novel.split"), {"key": "novel.txt"})
    assert [entry.key for entry in storage.list()] == ["novel.txt"]


def test_a_source_that_is_not_there_fails_for_good(context: MakeContext, tmp_path: Path):
    ctx = context("novel.split")
    for payload, said in (
        ({"key": "nothing.txt"}, "no object 'nothing.txt'"),
        ({"path": str(tmp_path / "nothing")}, "cannot be read: .*No such file"),
        ({"path": str(tmp_path)}, "not a regular file"),
        ({"path": "/dev/zero"}, "not a regular file"),
        ({"path": "/a\0b"}, "cannot be read: .*null"),
    ):
        with pytest.raises(Fail, match=said):
            run(ctx, payload)


def test_a_text_over_the_limit_is_refused_before_it_is_read(context: MakeContext, storage: Storage, tmp_path: Path):
    big = tmp_path / "big.txt"
    with big.open("wb") as file:
        file.truncate(200 * 1024 * 1024)  # no disk space: a hole
    with pytest.raises(Fail, match=r"209,715,200 bytes; at most 67,108,864"):
        run(context("novel.split"), {"path": str(big)})
    storage.put("big", b"")
    os.truncate(tmp_path / "storage" / "big", NOVEL_LIMIT_BYTES + 1)
    with pytest.raises(Fail, match=r"67,108,865 bytes; at most 67,108,864"):
        run(context("novel.split"), {"key": "big"})


def test_a_cancelled_job_stops_and_leaves_whole_texts_but_no_manifest(
    context: MakeContext, storage: Storage, tmp_path: Path
):
    storage.put("novel.txt", NOVEL.encode())
    ctx = context("novel.split")

    class CancelledWhileWriting(LocalStorage):
        def put(self, *arguments: Any, **options: Any) -> Stored:
            ctx.cancel_requested = True
            return super().put(*arguments, **options)

    ctx.services.storage = CancelledWhileWriting(tmp_path / "storage")
    with pytest.raises(Cancel):
        split(NovelSplit(key="novel.txt"), ctx)
    keys = [entry.key for entry in storage.list("novels/")]
    assert len(keys) == 1
    assert storage.get(keys[0]).decode() == NOVEL[: NOVEL.index("楔子")]


@pytest.mark.parametrize(
    ("line", "line_end"),
    [
        pytest.param(BODY, "\n", id="中文-unix"),
        pytest.param(
            "He walked into the yard and saw the moon. 🌕\n\n", "\r\n", id="emoji-dos", marks=pytest.mark.long
        ),
    ],
)
def test_memory_stays_bounded_for_a_text_of_60_mb(tmp_path: Path, line: str, line_end: str):
    novel = tmp_path / "big.txt"
    chapter = line * 6000
    with novel.open("w", encoding="utf-8", newline=line_end) as file:
        number = 0
        while file.tell() < 60_000_000:
            number += 1
            file.write(f"第{number}章 题目\n\n{chapter}")
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from workerctl.handler import Context, Job\n"
        "from workerctl.jobs.novel import NovelSplit, split\n"
        "from workerctl.storage.local import LocalStorage\n"
        "class Services: storage = LocalStorage(Path(sys.argv[2]))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "result = split(NovelSplit(path=sys.argv[1]), Context(Job(1, 'novel.split'), Services()))\n"
        "print(result['chapters'], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    command = [sys.executable, "-c", program, str(novel), str(tmp_path / "storage")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    novel.unlink()
    shutil.rmtree(tmp_path / "storage")
    chapters, grown_mb = map(int, done.stdout.split())
    assert chapters == number
    assert grown_mb < 400


@pytest.mark.parametrize(
    "content", [b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 40, b"\x89PNG\r\n\x1a\n" + bytes(900), b""]
)
def test_a_file_that_is_no_text_is_refused_when_it_is_enqueued(tmp_path: Path, content: bytes):
    path = tmp_path / "novel.txt"
    path.write_bytes(content)
    with pytest.raises(InvalidPayload, match=r"(binary|empty).*at `\$\.path`"):
        job_spec("novel.split", {"path": str(path)})
    job_spec("novel.split", {"path": str(tmp_path / "elsewhere.txt")})  # on the worker's machine, perhaps


def test_of_a_big_file_the_beginning_tells_when_it_is_enqueued(tmp_path: Path):
    path = tmp_path / "novel.txt"
    path.write_bytes(bytes(range(256)) * 20_000)
    with pytest.raises(InvalidPayload, match=r"binary.*at `\$\.path`"):
        job_spec("novel.split", {"path": str(path)})
    for encoding in ("utf-8", "gb18030", "utf-16", "utf-16-le", "utf-16-be"):
        path.write_bytes(("\ufeff" * encoding.startswith("utf-16-") + BODY * 90_000).encode(encoding))
        assert path.stat().st_size > LOOKED_AT_BYTES
        job_spec("novel.split", {"path": str(path)})


def test_a_key_outside_the_storage_is_refused_when_it_is_enqueued():
    with pytest.raises(InvalidPayload, match=r"'\.\.' parts.*at `\$\.key`"):
        job_spec("novel.split", {"key": "novels/../../etc/passwd"})
