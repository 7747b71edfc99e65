"""Finds the systemd units and PM2 files that run this installation, and reads their deadlines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contract import WorkerctlError
from .doctor_facts import Finding, Wrapper
from .init_ecosystem import ECOSYSTEM_FILES, read_ecosystem

UNIT_FOLDERS = (
    Path("/etc/systemd/system"),
    Path("/run/systemd/system"),
    Path("/usr/local/lib/systemd/system"),
    Path("/usr/lib/systemd/system"),
    Path("/lib/systemd/system"),
    Path.home() / ".config" / "systemd" / "user",
)
SYSTEMD_STOP_SECONDS = 90.0  # DefaultTimeoutStopSec
PM2_KILL_MILLISECONDS = 1600
DOCKER_STOP_SECONDS = 10.0
KUBERNETES_STOP_SECONDS = 30.0  # terminationGracePeriodSeconds
CONTAINER_MARKS = (".dockerenv", "run/.containerenv")  # Docker's and Podman's
_SPAN_SECONDS = {
    "us": 1e-6, "usec": 1e-6, "ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "": 1.0,
    "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0,
    "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0,
}  # fmt: skip


def systemd_units(program: Path, folders: Sequence[Path] = UNIT_FOLDERS) -> Iterator[Wrapper]:
    """Every installed unit whose ExecStart is this program, with its drop-ins; the first folder wins a name."""
    seen: set[str] = set()
    for folder in folders:
        for path in sorted(folder.glob("*.service")) if folder.is_dir() else []:
            text = "" if path.name in seen else _text(path)
            if _runs(text, program):
                seen.add(path.name)
                dropins = (each for place in folders for each in sorted((place / f"{path.name}.d").glob("*.conf")))
                yield read_unit(str(path), "\n".join([text, *map(_text, dropins)]))


def read_unit(path: str, text: str) -> Wrapper:
    """What a unit, its drop-ins appended, says about stopping and starting. Pure."""
    said = dict(re.findall(r"^\s*(\w+)\s*=\s*(.*?)\s*$", text, flags=re.MULTILINE))  # the last one wins
    stop = said.get("TimeoutStopSec") or said.get("TimeoutSec")
    return Wrapper(
        kind="systemd",
        path=path,
        stop_seconds=span_seconds(stop) if stop else SYSTEMD_STOP_SECONDS,
        kills_tree=said.get("KillMode", "control-group") == "control-group",
        notified=said.get("Type", "simple").startswith("notify"),
    )


def span_seconds(text: str) -> float:
    """A time span of systemd: `90`, `1min 30s`, `infinity`. Infinity where it is none that we can read. Pure."""
    parts = re.findall(r"([\d.]+)\s*([a-z]*)", text.lower())
    if not parts or any(unit not in _SPAN_SECONDS for _, unit in parts):
        return math.inf
    return math.fsum(float(number) * _SPAN_SECONDS[unit] for number, unit in parts) or math.inf  # 0 is no limit


def pm2_apps(project: Path, program: Path) -> Iterator[Wrapper | Finding]:
    """The apps of the project's PM2 file that run workerctl; a file that cannot be read becomes a finding."""
    for name in ECOSYSTEM_FILES:
        path = project / name
        if not path.is_file():
            continue
        try:
            apps = read_ecosystem(path).apps
        except WorkerctlError as error:
            yield Finding("warning", "pm2", str(error))
            continue
        yield from (read_app(f"{name}: {app.get('name')}", app) for app in apps if _is_ours(app, program))


def read_app(path: str, app: dict[str, Any]) -> Wrapper:
    """What a PM2 app says about stopping and starting. Pure."""
    milliseconds = app.get("kill_timeout", PM2_KILL_MILLISECONDS)
    return Wrapper(
        kind="pm2",
        path=path,
        stop_seconds=float(milliseconds) / 1000,
        kills_tree=app.get("treekill", True) is not False,
        notified=app.get("wait_ready") is True,
    )


def container(environ: Mapping[str, str], root: Path = Path("/")) -> Wrapper | None:
    """The container that we are in, with what it leaves us where nobody said otherwise; None outside of one.

    What somebody did say is not to be seen from inside.
    """
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return Wrapper("kubernetes", "", KUBERNETES_STOP_SECONDS)
    if any((root / mark).exists() for mark in CONTAINER_MARKS):
        return Wrapper("container", "", DOCKER_STOP_SECONDS)
    return None


def _is_ours(app: dict[str, Any], program: Path) -> bool:
    script = str(app.get("script") or "")
    return script == str(program) or Path(script).name == "workerctl"


def _runs(text: str, program: Path) -> bool:
    commands = re.findall(r"^\s*ExecStart\s*=\s*[-@:+!]*(.*)$", text, flags=re.MULTILINE)
    return any(str(program) in command.replace("%%", "%") for command in commands)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
