"""One TOML file and the environment become typed settings; what cannot work is refused in one line."""

from __future__ import annotations

from .. import lean  # noqa: F401  before whatever imports msgspec
from .load import Loaded, load, load_for_producer
from .pools import settings_of_pool
from .redact import redact
from .reference import Entry, reference
from .stored import dump, restore
from .types import (
    ImagesSettings,
    JobsSettings,
    LogsSettings,
    PoolSettings,
    ScheduleSettings,
    Settings,
    StorageSettings,
    SupervisorSettings,
)

__all__ = [
    "Entry",
    "ImagesSettings",
    "JobsSettings",
    "Loaded",
    "LogsSettings",
    "PoolSettings",
    "ScheduleSettings",
    "Settings",
    "StorageSettings",
    "SupervisorSettings",
    "dump",
    "load",
    "load_for_producer",
    "redact",
    "reference",
    "restore",
    "settings_of_pool",
]
