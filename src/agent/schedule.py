"""Pure: which due times of a scheduled task are to be made now."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from cronsim import CronSim

GRACE_SECONDS = 300.0  # a due time missed by more than this (nobody was there) is skipped


@dataclass(frozen=True, slots=True)
class Task:
    """A scheduled task as configured."""

    name: str
    cron: str
    timezone: str


def next_due(task: Task, after: dt.datetime) -> dt.datetime:
    """The first due time after an instant, in the task's own time zone; daylight saving as Debian's cron keeps it."""
    return next(CronSim(task.cron, after.astimezone(ZoneInfo(task.timezone))))


def due_times(task: Task, last: dt.datetime, now: dt.datetime) -> list[dt.datetime]:
    """Due times after `last` and up to `now`, oldest first, without those missed by more than the grace."""
    start = max(last, now - dt.timedelta(seconds=GRACE_SECONDS))
    found = []
    while (due := next_due(task, start)) <= now:
        found.append(due)
        start = due
    return found
