"""Which database a producer or the command line talks to, without starting anything."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ..contract import NotRunning, Unusable
from ..settings import Loaded, Settings, load_for_producer


class Database(msgspec.Struct, frozen=True):
    """run/database.json: where the queue is. `url_direct` is for LISTEN and migrations where `url` is pooled."""

    url: str
    url_direct: str
    pooled: bool = False


def database_file(home: Path) -> Path:
    """Written by `start`, 0600."""
    return home / "run" / "database.json"


def configured(settings: Settings) -> Database | None:
    """The database that the settings name, or None for the embedded one."""
    if settings.database_url is None:
        return None
    return Database(
        url=settings.database_url,
        url_direct=settings.database_url_direct or settings.database_url,
        pooled=settings.database_pooled,
    )


def find_database(loaded: Loaded | None = None) -> Database:
    """The database of these settings, else of those found upward from the current folder. Raises NotRunning, Unusable.

    DATABASE_URL and the config file name it; else it is the embedded one that a running `workerctl start` serves.
    """
    loaded = loaded or load_for_producer(dict(os.environ), Path.cwd())
    named = configured(loaded.settings)
    if named is not None:
        return named
    path = database_file(loaded.home)
    try:
        if not (loaded.home / "run" / "control.sock").exists():  # it goes with the supervisor, the file stays
            raise FileNotFoundError
        return msgspec.json.decode(path.read_bytes(), type=Database)
    except FileNotFoundError:
        raise NotRunning(f"no DATABASE_URL, and nothing runs in {loaded.home}; type `workerctl start`") from None
    except PermissionError:
        raise Unusable(
            f"{loaded.home} is closed to this user; run as the one who started it, or set DATABASE_URL"
        ) from None
