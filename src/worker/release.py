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
    real_folder = functools.cache(os.path.realpath)  # of seven hundred modules in fifty folders
    folders = tuple(f"{Path(folder).resolve()}/" for folder in settings.jobs.path)
    for name in sorted(sys.modules):
        source = getattr(sys.modules[name], "__file__", None)
        if not isinstance(source, str):
            continue
        path = Path(source)
        path = path.resolve() if path.is_symlink() else Path(real_folder(path.parent), path.name)
        if not str(path).startswith(folders) or "site-packages" in path.parts:
            continue
        digest.update(f"\0{name}\0".encode())
        try:
            digest.update(path.read_bytes())
        except OSError:
            digest.update(b"gone")
    return digest.hexdigest()[:LETTERS]
