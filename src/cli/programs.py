"""Programs of apps: a command as words, and where they are looked for."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path


def app_words(command: str | tuple[str, ...]) -> tuple[str, ...]:
    """A command as words; a line is split as a shell would."""
    return tuple(shlex.split(command)) if isinstance(command, str) else command


def programs_path() -> str:
    """Where programs of apps are looked for: those of this venv come first."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
