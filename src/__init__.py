"""workerctl: supervised Python workers on a PostgreSQL queue. The public face; everything is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache import cached
    from .handler import Cancel, Context, Fail, InvalidPayload, QueueFull, Refused, Retry, Snooze, WrongField, job
    from .producer import enqueue, enqueue_async, enqueue_many

_HOMES = dict.fromkeys(
    ("Cancel", "Context", "Fail", "InvalidPayload", "QueueFull", "Refused", "Retry", "Snooze", "WrongField", "job"),
    ".handler",
)
_HOMES["cached"] = ".cache"
_HOMES |= dict.fromkeys(("enqueue", "enqueue_async", "enqueue_many"), ".producer")

__all__ = [
    "Cancel",
    "Context",
    "Fail",
    "InvalidPayload",
    "QueueFull",
    "Refused",
    "Retry",
    "Snooze",
    "WrongField",
    "cached",
    "enqueue",
    "enqueue_async",
    "enqueue_many",
    "job",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workerctl' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
