"""Finds the control groups this process is in, v1 and v2; the root is a parameter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def own_membership() -> str:
    """The content of /proc/self/cgroup; empty where there is none."""
    try:
        return _MEMBERSHIP.read_text()
    except OSError:
        return ""


def folders(root: Path, membership: str, controller: str) -> Iterator[Path]:
    """The folders whose limits bind us, innermost first, up to the root: every ancestor's limit counts.

    In a container without a cgroup namespace the membership names the host's folders, which are not there;
    then the root itself is ours.
    """
    for line in membership.splitlines() or ["0::/"]:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            for base in (root, root / "unified"):
                yield from _upwards(base, path)
        elif controller in controllers.split(","):
            for base in (root / controller, root / controllers):
                yield from _upwards(base, path)


def first_line(path: Path) -> str:
    """The file's first line; empty where it cannot be read."""
    try:
        with path.open() as file:
            return file.readline().strip()
    except OSError:
        return ""


def _upwards(base: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for depth in range(len(parts), -1, -1):
        folder = base.joinpath(*parts[:depth])
        if folder.is_dir():
            yield folder
