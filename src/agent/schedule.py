"""Pure: which due times of a scheduled task are to be made now."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim

from ..settings.units import cron_fields, every_seconds

GRACE_SECONDS = 300.0  # the latest due time that is late by less was not missed, and neither were those
FAILOVER_SECONDS = 60.0  # that are late by less than this: another primary takes its time
MOST_AT_ONCE = 1000  # of missed = "all"; what is older is given up
TWO_HOURS_SECONDS = 7200
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

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
        due = _next_of_cron(task.cron, zone, after)
        hour = due.astimezone(zone).replace(minute=0, second=0).astimezone(dt.UTC)
        # CronSim comes into an hour at half past where a clock changed by half an hour before: once more from its begin
        return _next_of_cron(task.cron, zone, max(after, hour - dt.timedelta(seconds=1)))
    step = dt.timedelta(seconds=period)  # in floats the next of `@every 1.1s` may be the same time again
    return _EPOCH + ((after - _EPOCH) // step + 1) * step


def due_times(task: Task, last: dt.datetime, now: dt.datetime) -> list[dt.datetime]:
    """Due times after `last` and up to `now` that are to be made, oldest first; 1,000 at most.

    What nobody was there for goes by `missed`: skip all of it, make the latest once where none is in time, or make all.
    """
    due = _latest_between(task, last.astimezone(dt.UTC), now.astimezone(dt.UTC))
    if task.missed == "all":
        return due
    in_time = [at for at in due if not _was_missed(at, now, is_latest=at is due[-1])]
    return in_time or (due[-1:] if task.missed == "once" else [])


def _next_of_cron(cron: str, zone: ZoneInfo, after: dt.datetime) -> dt.datetime:
    fields = cron_fields(cron).split()
    second = dt.timedelta(0)
    if len(fields) == 6 and fields[0].isdecimal():  # CronSim keeps to Debian's rules only without seconds
        second = dt.timedelta(seconds=int(fields.pop(0)))
    times = (due.astimezone(dt.UTC) + second for due in CronSim(" ".join(fields), (after - second).astimezone(zone)))
    for due in itertools.islice(times, TWO_HOURS_SECONDS):  # within the hour that comes twice it begins with its first
        if due > after:
            return due
    return _next_of_cron(
        cron, zone, after + dt.timedelta(minutes=15)
    )  # it goes round within that hour, as in Pacific/Chatham


def _was_missed(due: dt.datetime, now: dt.datetime, *, is_latest: bool) -> bool:
    """A task that comes often is not made up for all at once; one that comes seldom is worth a wait."""
    return (now - due).total_seconds() >= (GRACE_SECONDS if is_latest else FAILOVER_SECONDS)


def _latest_between(task: Task, start: dt.datetime, end: dt.datetime) -> list[dt.datetime]:
    """Looked for from the end, further and further: of a month by the second nobody could look at all in time."""
    seconds = GRACE_SECONDS
    while True:
        begin = max(start, end - dt.timedelta(seconds=seconds))
        found = _between(task, begin, end)
        if begin == start or len(found) >= MOST_AT_ONCE:
            return found[-MOST_AT_ONCE:]
        seconds *= 8


def _between(task: Task, start: dt.datetime, end: dt.datetime) -> list[dt.datetime]:
    found: list[dt.datetime] = []
    while (due := next_due(task, start)) <= end:
        found.append(due)
        start = due
    return found
