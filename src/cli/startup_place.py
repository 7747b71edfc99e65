"""This installation as a wrapper's file needs it, and the file's text. Pure but for `this_place` and `own_program`."""

from __future__ import annotations

import getpass
import grp
import json
import math
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from .doctor_services import stop_needs_seconds
from .startup_templates import DOCKER, PM2, SYSTEMD

if TYPE_CHECKING:
    from ..settings import Loaded

START_ALLOWANCE_SECONDS = 60.0  # beyond boot_timeout: the one-time making of an embedded database
STATE_FOLDER = Path("/var/lib")
PRIVATE_FOLDERS = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108  of which the unit sees an empty copy


@dataclass(frozen=True, slots=True)
class Place:
    """Where this installation is and what its settings ask of a wrapper. Paths are absolute."""

    program: Path
    folder: Path  # the project, in which everything runs
    config: Path | None  # None: found from the folder
    home: Path | None  # None: found from the folder
    user: str
    group: str
    stop_timeouts: tuple[float, ...]
    boot_timeout_seconds: float

    @property
    def whole_home(self) -> Path:
        return self.home or self.folder / ".workerctl"

    @property
    def options(self) -> list[str]:
        """What the command line must say because the folder alone does not."""
        pairs = (("--config", self.config), ("--home", self.home))
        return [word for option, path in pairs if path is not None for word in (option, str(path))]


def own_program() -> Path:
    """The `workerctl` of this environment."""
    return Path(sys.executable).with_name("workerctl")


def this_place(found: Loaded) -> Place:
    """This installation, run by whoever types the command; under sudo by the user who typed it."""
    from ..location import find_config, project_folder

    folder = project_folder(found.config_path, Path.cwd()).absolute()
    config = found.config_path and found.config_path.absolute()
    home = found.home.absolute()
    pools, apps = found.settings.pools.values(), found.settings.apps.values()
    user = os.environ.get("SUDO_USER") or getpass.getuser()
    gid = int(os.environ.get("SUDO_GID") or os.getegid())
    return Place(
        program=own_program(),
        folder=folder,
        config=None if config == find_config(None, {}, folder) else config,
        home=None if home == folder / ".workerctl" else home,
        user=user,
        group=grp.getgrgid(gid).gr_name,
        stop_timeouts=(*(pool.stop_timeout_seconds for pool in pools), *(app.stop_timeout_seconds for app in apps)),
        boot_timeout_seconds=max(
            *(pool.boot_timeout_seconds for pool in pools), *(app.boot_timeout_seconds for app in apps), 0.0
        ),
    )


def systemd_text(place: Place) -> str:
    """The unit without its head."""
    arguments = (_unit_word(word).replace("$", "$$") for word in place.options)  # but not in the program's path
    command = " ".join([_unit_word(str(place.program)), *arguments])
    return Template(SYSTEMD).substitute(
        _times(place),
        user=place.user,
        group=place.group,
        folder=_unit_path(place.folder),
        command=command,
        writable=_writable(place.whole_home),
    )


def pm2_text(place: Place) -> str:
    """The ecosystem file for the project's folder: paths below it follow when it moves."""
    below = place.program.is_relative_to(place.folder)
    relative = str(place.program.relative_to(place.folder)) if below else ""
    arguments = [*place.options, "start", "--foreground"]
    return Template(PM2).substitute(
        _times(place),
        program=f"path.resolve(__dirname, {_js(relative)})" if below else _js(str(place.program)),
        folder="__dirname",
        arguments=_js(" ".join(arguments)) if not place.options else f"[{', '.join(map(_js, arguments))}]",
    )


def docker_text(place: Place, version: str, package: str | None) -> str:
    """The Dockerfile. `package` is the name of the Python project in the folder; None: there is none."""
    config = place.config and place.config.is_relative_to(place.folder) and place.config.relative_to(place.folder)
    ours = f"'workerctl[embedded,content]=={version}'"
    requirement = "'.[embedded,content]'" if package == "workerctl" else ours if package is None else f"{ours} ."
    return Template(DOCKER).substitute(
        _times(place),
        build_hint="docker build -t app . ; keep .venv, .workerctl and .git out with a .dockerignore",
        requirement=requirement,
        config=f" \\\n    WORKERCTL_CONFIG=/srv/app/{config}" if config else "",
    )


def systemd_takes(program: Path) -> bool:
    """Whether systemd starts a program of this name: it refuses quotes and backslashes in it."""
    return re.search(r"[\"'\\]", str(program)) is None


def hidden_by_private_tmp(place: Place) -> list[Path]:
    """Paths that a unit with PrivateTmp could not see."""
    paths = (place.program, place.folder, place.whole_home)
    return [path for path in paths if any(path.is_relative_to(folder) for folder in PRIVATE_FOLDERS)]


def _times(place: Place) -> dict[str, str]:
    stop = math.ceil(stop_needs_seconds(place.stop_timeouts))
    start = math.ceil(place.boot_timeout_seconds + START_ALLOWANCE_SECONDS)
    return {
        "stop_timeout": _in_seconds(max(place.stop_timeouts)),
        "boot_timeout": _in_seconds(place.boot_timeout_seconds),
        "stop_seconds": str(stop),
        "start_seconds": str(start),
        "stop_milliseconds": str(stop * 1000),
        "start_milliseconds": str(start * 1000),
    }


def _in_seconds(seconds: float) -> str:
    return f"{seconds:g}s"


def _writable(home: Path) -> str:
    """What opens the home in a read-only system: systemd makes folders below /var/lib, others must be there."""
    if home.parent == STATE_FOLDER:
        return f"StateDirectory={_unit_word(home.name)}\nStateDirectoryMode=0700"
    return f"ReadWritePaths={_unit_word(str(home))}"


def _unit_path(path: Path) -> str:
    return str(path).replace("%", "%%")


def _unit_word(word: str) -> str:
    """One word of a unit's list: % stands for itself, blanks and quotes are kept."""
    escaped = word.replace("\\", "\\\\").replace("%", "%%")
    if re.search(r"[\s\"';\\]", word) is None:
        return escaped
    return '"' + escaped.replace('"', '\\"') + '"'


def _js(text: str) -> str:
    """A JavaScript string in the quotes that the rest of the file has."""
    inner = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'")
    return f"'{inner}'"
