"""What `start` and `reload` say of what stands now."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ..contract import WorkerctlError
from .common import database, fail, say

if TYPE_CHECKING:
    from ..settings import Settings


def judge_start(document: dict[str, Any]) -> None:
    """Ends with 1 and a reason where not everything serves."""
    if document["supervisor"]["state"] != "degraded":
        return
    told = [notice["text"] for notice in document["warnings"]]
    ends = (process["last_exit"] for part in ("pools", "apps") for team in document[part]
            for process in team.get("workers", team.get("processes")) if process["phase"] != "ready")  # fmt: skip
    said = [end["message"] for end in ends if end and end["message"]]
    reason = next(iter((*said, *told)), "not everything is ready")
    fail(f"degraded: {reason}; see `workerctl logs --err` and `workerctl why NAME/SLOT`")


def note_unknown_kinds(settings: Settings) -> None:
    """Say which names in the config no worker of the fleet has known, where there are such names at all."""
    if not (settings.limits or settings.rates or settings.admission or settings.schedule):
        return
    from ..broker.limits import known_kinds
    from .known_kinds import unknown_kinds

    known: list[str] = []
    with contextlib.suppress(WorkerctlError), database() as connection:  # a database that is away is no news here
        known = known_kinds(connection)
    for line in unknown_kinds(settings, known) if known else ():
        say(f"note: {line}")
