"""What code a template has imported: a fingerprint of the sources and of the settings."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from pathlib import Path

import msgspec

from ..settings import Settings

LETTERS = 8


def fingerprint(settings: Settings) -> str:
    """Of every imported module that lies below `jobs.path`, installed packages left out, and of the settings."""
    digest = hashlib.sha256(msgspec.json.encode(settings))
    real = functools.cache(os.path.realpath)  # seven hundred modules lie in fifty folders
    folders = tuple(f"{real(folder)}/" for folder in settings.jobs.path)
    for name in sorted(sys.modules):
        source = getattr(sys.modules[name], "__file__", None)
        if not isinstance(source, str):
            continue
        folder, _, file = source.rpartition("/")
        path = real(source) if os.path.islink(source) else f"{real(folder)}/{file}"  # noqa: PTH114  2 ms, not 20
        if not path.startswith(folders) or "/site-packages/" in path:
            continue
        digest.update(f"\0{name}\0".encode())
        try:
            digest.update(Path(path).read_bytes())
        except OSError:
            digest.update(b"gone")
    return digest.hexdigest()[:LETTERS]
