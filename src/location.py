"""Where the config file, the project and the home are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .contract import ENV_CONFIG, ENV_HOME, Unusable

_FILE = "workerctl.toml"
_HOME = ".workerctl"


def find_config(given: Path | None, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The config file: `given`, else WORKERCTL_CONFIG, else one found below `cwd`; None: defaults alone.

    Raises Unusable where a file that was named is not there.
    """
    named = given or (Path(environ[ENV_CONFIG]) if environ.get(ENV_CONFIG) else None)
    if named is not None:
        path = cwd / named
        if not path.is_file():
            who = "--config" if given else ENV_CONFIG
            raise Unusable(f"{named}: no such file, but {who} names it")
        return path
    candidates = (cwd / _FILE, cwd / "config" / _FILE)
    return next((path for path in candidates if path.is_file()), None)


def find_config_upward(environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The config file of a program that may run anywhere in a project: as `find_config`, else of the folders above."""
    folders = (cwd,) if environ.get(ENV_CONFIG) else (cwd, *cwd.parents)
    return next((found for folder in folders if (found := find_config(None, environ, folder))), None)


def project_folder(config: Path | None, cwd: Path) -> Path:
    """The folder that the config describes: its own, or the one above where it lies in `config/`."""
    if config is None:
        return cwd
    folder = Path(config).absolute().parent
    return folder.parent if folder.name == "config" else folder


def find_home(given: Path | None, environ: Mapping[str, str], cwd: Path, project: Path) -> Path:
    """The home: `given`, else WORKERCTL_HOME, both seen from `cwd`, else `.workerctl` in the project."""
    named = given or (Path(environ[ENV_HOME]) if environ.get(ENV_HOME) else None)
    return cwd / named if named is not None else project / _HOME


def shown_path(path: Path, cwd: Path) -> str:
    """The path as the user would type it."""
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
