"""What every process of ours on the database's side knows from its environment."""

from __future__ import annotations

import functools
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from ..contract import ENV_HOME, ENV_NODE, ENV_SETTINGS, Unusable
from ..settings import Settings, restore
from .found import Database, configured


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every process of ours on the database's side knows from its environment."""

    settings: Settings
    home: Path
    node_id: str
    host: str
    database: Database
    place: str = ""  # tells this home from a copy of it, on this machine or another


@functools.cache
def surroundings() -> Surroundings:
    """Read them, once: what a template forks finds them read. Raises Unusable where our supervisor did not start us."""
    missing = [name for name in (ENV_SETTINGS, ENV_HOME, ENV_NODE) if name not in os.environ]
    if missing:
        raise Unusable(f"{missing[0]} is not set: this program is started by `workerctl start`")
    settings = restore(Path(os.environ[ENV_SETTINGS]))
    database = configured(settings)
    if database is None:
        raise Unusable(f"{os.environ[ENV_SETTINGS]} names no database; start again")
    home, host = Path(os.environ[ENV_HOME]), socket.gethostname()
    return Surroundings(settings, home, os.environ[ENV_NODE], host, database, _place(home, host))


def _place(home: Path, host: str) -> str:
    """The same for all supervisors that run in this folder, one after the other, until the machine boots anew."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = host
    folder = home.stat()
    return f"{boot} {folder.st_dev}:{folder.st_ino} {home}"
