"""`workerctl startup`: writes the file with which systemd, PM2 or Docker runs this installation."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .common import fail, loaded, say

UNIT_FOLDER = Path("/etc/systemd/system")
HEAD = """\
# {what}, written by `workerctl startup {kind}`.

"""


class Kind(StrEnum):
    """Who wraps us."""

    SYSTEMD = "systemd"
    PM2 = "pm2"
    DOCKER = "docker"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("startup")(startup)


def startup(
    kind: Annotated[Kind, typer.Argument(help="Whose file.", metavar="systemd|pm2|docker")],
    only_print: Annotated[bool, typer.Option("--print", help="Print the file instead of writing it.")] = False,
    to: Annotated[Path | None, typer.Option("--to", help="Write it there.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Who runs it under systemd; else you.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that differs.")] = False,
) -> None:
    """Write the file of systemd, PM2 or Docker for this installation. It has its paths and deadlines.

    Example: workerctl startup systemd --print
    """
    target, text = _file(kind, user)
    if only_print:
        sys.stdout.write(text)
        return
    _write(to or target, text, force=force)
    for line in _next_steps(kind, to or target):
        say(line)


def _file(kind: Kind, user: str | None) -> tuple[Path, str]:
    from dataclasses import replace

    from .. import __version__
    from . import startup_place as places

    found = loaded(stay_root=True)
    place = places.this_place(found)
    configured = found.settings.supervisor
    if user is not None:
        place = replace(place, user=user, group=_main_group(user))
    elif configured.user is not None:
        place = replace(place, user=configured.user, group=configured.group or _main_group(configured.user))
    match kind:
        case Kind.SYSTEMD:
            if not places.systemd_takes(place.program):
                fail(f"systemd starts no program with quotes in its path: {place.program}; move the environment")
            for path in places.hidden_by_private_tmp(place):
                say(f"note: the unit has PrivateTmp and could not see {path}; move it out of /tmp")
            head = HEAD.format(what="workerctl under systemd", kind=kind)
            folder = UNIT_FOLDER if os.geteuid() == 0 and UNIT_FOLDER.is_dir() else place.folder
            return folder / "workerctl.service", head + places.systemd_text(place)
        case Kind.PM2:
            return place.folder / "ecosystem.config.js", places.pm2_text(place)
        case Kind.DOCKER:
            text = places.docker_text(place, __version__, _package(place.folder))
            return place.folder / "Dockerfile", text


def _package(folder: Path) -> str | None:
    """The name of the Python project in a folder; None where there is none that pip would install."""
    import tomllib

    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    name = project.get("name") if isinstance(project, dict) else None
    return name if isinstance(name, str) else None


def _main_group(user: str) -> str:
    import grp
    import pwd

    try:
        return grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    except KeyError:
        fail(f"--user {user}: there is no such user; make one with `useradd --system {user}`")


def _write(path: Path, text: str, *, force: bool) -> None:
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            say(f"{path} is up to date")
            return
        if path.exists() and not force:
            fail(f"{path} is there and differs; compare with --print, or overwrite it with --force")
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
    say(f"wrote {path}")


def _next_steps(kind: Kind, path: Path) -> list[str]:
    match kind:
        case Kind.SYSTEMD:
            copy = [] if path.parent == UNIT_FOLDER else [f"sudo cp {path} {UNIT_FOLDER}/"]
            steps = [*copy, "sudo systemctl daemon-reload", f"sudo systemctl enable --now {path.stem}"]
        case Kind.PM2:
            steps = [f"pm2 start {path}", "pm2 save"]
        case Kind.DOCKER:
            steps = [f"docker build -t app -f {path} {path.parent}"]
    return ["then type:", *(f"  {step}" for step in steps)]
