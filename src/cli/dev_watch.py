"""Which files `dev` watches, and what changed in them. Reads the folders, writes nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
ENDINGS = (".py", ".toml", ".sql", ".json", ".yaml", ".yml")

Snapshot = Mapping[str, tuple[int, int]]  # path -> modification time in ns, size in bytes


def snapshot(folders: Iterable[str], single: Collection[Path], home: Path) -> Snapshot:
    """The files below the folders that code may come from, and the single ones.

    Hidden folders, virtual environments, node_modules and the home are left out.
    """
    found: dict[str, tuple[int, int]] = {}
    for folder in folders:
        for top, names, files in os.walk(folder):
            names[:] = [name for name in names if _is_walked(Path(top, name), home)]
            for name in files:
                if name.endswith(ENDINGS) and not name.startswith("."):
                    _add(found, str(Path(top, name)))
    for path in single:
        _add(found, str(path))
    return found


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Paths that came, went or were written, in order."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _is_walked(folder: Path, home: Path) -> bool:
    if folder.name.startswith(".") or folder.name in SKIPPED or folder == home:
        return False
    return not (folder / "pyvenv.cfg").exists()


def _add(found: dict[str, tuple[int, int]], path: str) -> None:
    try:
        status = os.stat(path)  # noqa: PTH116  thousands of files twice a second
    except OSError:
        return
    found[path] = (status.st_mtime_ns, status.st_size)
