"""Pure: which due times of a scheduled task are to be made now."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim

from ..settings.units import cron_fields, every_seconds

GRACE_SECONDS = 300.0  # a due time that is late by less was not missed: a failover takes its time
MOST_AT_ONCE = 1000  # of missed = "all"; what is older is given up

Missed = Literal["skip", "once", "all"]


@dataclass(frozen=True, slots=True)
class Task:
    """A scheduled task as configured: `cron` is an expression or `@every 10m`."""

    name: str
    cron: str
    timezone: str
    missed: Missed = "skip"


def next_due(task: Task, after: dt.datetime) -> dt.datetime:
    """The first due time after an instant, in UTC: times of one zone compare by its clock's face, which is twice at 2.

    Cron expressions go by the task's own time zone, with daylight saving as Debian's cron keeps it; `@every` counts
    from 1970, so that every machine of the fleet means the same instants.
    """
    period = every_seconds(task.cron)
    if period is None:
        zone = ZoneInfo(task.timezone)
        times = (due.astimezone(dt.UTC) for due in CronSim(cron_fields(task.cron), after.astimezone(zone)))
        return next(due for due in times if due > after)  # within the hour that comes twice it begins with its first
    return dt.datetime.fromtimestamp((after.timestamp() // period + 1) * period, dt.UTC)


def due_times(task: Task, last: dt.datetime, now: dt.datetime) -> list[dt.datetime]:
    """Due times after `last` and up to `now` that are to be made, oldest first.

    What nobody was there for, late by more than the grace, goes by `missed`: skip all of it, make the latest once,
    or make all.
    """
    last, now = last.astimezone(dt.UTC), now.astimezone(dt.UTC)
    late = now - dt.timedelta(seconds=GRACE_SECONDS)
    in_time = _between(task, max(last, late), now)
    if task.missed == "skip" or last >= late:
        return in_time
    before = _between(task, last, late)
    return [*(before if task.missed == "all" else before[-1:] if not in_time else []), *in_time]


def _between(task: Task, start: dt.datetime, end: dt.datetime) -> list[dt.datetime]:
    found: list[dt.datetime] = []
    while (due := next_due(task, start)) <= end:
        found.append(due)
        start = due
    return found[-MOST_AT_ONCE:]
