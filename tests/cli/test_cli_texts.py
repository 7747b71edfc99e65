"""Texts, columns and widths of what commands print."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import pytest
from cli_typed import run

from workerctl.cli.job_text import job_text
from workerctl.cli.known_kinds import unknown_job
from workerctl.cli.plain import cut, table, width


def test_a_job_of_a_kind_that_nobody_has_known_is_noted_with_what_was_meant() -> None:
    told = unknown_job("thumbnail.mak", ["thumbnail.make", "log.write"], [])
    assert told == "no worker has ever known the kind 'thumbnail.mak'; did you mean thumbnail.make?"
    assert "workerctl reload" in (unknown_job("new", ["log.write"], ["new"]) or "")
    assert unknown_job("log.write", ["log.write"], []) is None
    assert unknown_job("first", [], []) is None  # no worker has ever been here


def test_an_output_that_knows_no_chinese_gets_escapes_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "workerctl.toml").write_text("[limits]\n'生成😀' = 3\n")
    for arguments, expected in (((), "\\u751f\\u6210"), (("--json",), "\\u751f\\u6210\\ud83d\\ude00")):
        done = run(tmp_path, "config", "show", *arguments, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr.count("\n") < 2) == (0, True), done.stderr
        assert expected in done.stdout
    assert json.loads(done.stdout)
    assert "生成😀" in run(tmp_path, "config", "show", PYTHONIOENCODING="utf-8").stdout


def test_a_job_is_shown_with_the_readers_time_and_the_fields_of_its_log() -> None:
    at = dt.datetime(2026, 1, 1, 12, 30, 0, 250000, tzinfo=dt.UTC)
    job = dict.fromkeys(("waits_because", "user_id", "plan", "parent_id", "unique_key", "node", "worker", "run_at",
                         "started_at", "finished_at", "error", "progress", "children_total", "payload", "result",
                         "remembered"))  # fmt: skip
    job |= dict.fromkeys(("kind", "queue", "status", "priority", "attempt", "max_attempts", "failures", "deaths"), "x")
    log = [{"logged_at": at, "level": "info", "message": "resizing", "fields": {"键": "图.png", "size": 3}}]
    text = job_text(job | {"id": 1, "created_at": at}, [], log)
    here = at.astimezone()
    assert f"created_at     {here:%Y-%m-%d %H:%M:%S}.250{here.isoformat()[-6:]}" in text
    assert f'{here:%H:%M:%S} info    resizing  键="图.png"  size=3' in text


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (62, "7  image.make  u1  错误错误错误错误错误错误错误错误错误错误"),
        (40, "7  image.make  u1  错误错误错误错误…"),
        (30, "7  image.make  错误错误错误错…"),
        (10, "7  image.make  错误错误错误错…"),
    ],
)
def test_a_narrow_terminal_cuts_the_words_at_the_end_and_then_leaves_columns_out(
    monkeypatch: pytest.MonkeyPatch, columns: int, expected: str
) -> None:
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((columns, 24)))
    text = table(("id", "kind", "user", "error"), [["7", "image.make", "u1", "错误" * 10]], spare=(2,), cut_last=True)
    assert " ".join(text.splitlines()[1].split()) == " ".join(expected.split())
    assert text.splitlines()[0].split()[0] == "id"


def test_what_users_write_steers_no_terminal() -> None:
    assert table(("user",), [["\x1b[2Jme\tyou\nhe\x9b1m"]]).splitlines()[1] == "\ufffd[2Jme you he\ufffd1m"


def test_columns_of_chinese_names_align() -> None:
    lines = table(("name", "n"), [["林黛玉", "1"], ["Ahab", "2"]], right=frozenset({1})).splitlines()
    assert len({width(line) for line in lines}) == 1


@pytest.mark.parametrize(("columns", "shown"), [(4, "abc"), (5, "abc林"), (0, "abc林"), (-1, "abc林")])
def test_a_text_is_cut_by_its_columns(columns: int, shown: str) -> None:
    assert cut("abc林", columns) == shown
