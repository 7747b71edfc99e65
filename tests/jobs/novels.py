"""The real novels that `scripts/_texts.py` fetched, or why a test must do without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("WORKERCTL_NOVELS") or Path(__file__).parents[2] / ".cache" / "novels")


def novel(name: str) -> Path:
    """The file's path; skips the test where it was not fetched."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"no {name} in {FOLDER}: scripts/test fetches it where the package registries answer")
    return path
