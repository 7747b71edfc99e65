"""Settings of a folder, and the words with which they are refused."""

from pathlib import Path

import pytest

from workerctl.contract import Exit, Unusable
from workerctl.settings import load


def loaded(folder: Path, text: str | None = None, **environ: str):
    if text is not None:
        (folder / "workerctl.toml").write_text(text, encoding="utf-8")
    return load(None, None, environ, folder)


def refusal(folder: Path, text: str | None = None, **environ: str) -> str:
    with pytest.raises(Unusable) as caught:
        loaded(folder, text, **environ)
    assert caught.value.exit_code == Exit.UNUSABLE
    message = str(caught.value)
    assert "\n" not in message
    return message
