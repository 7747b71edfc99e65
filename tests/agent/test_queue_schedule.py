"""Due times under clocks that step and seasons that change; what the primary does of itself is noted."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from workerctl.agent.primary import Primary
from workerctl.agent.schedule import FAILOVER_SECONDS, Missed, Task, due_times
from workerctl.broker.overview import duties
from workerctl.settings import Settings

CHANGES = (dt.datetime(2026, 3, 29, 0, 0, tzinfo=dt.UTC), dt.datetime(2026, 10, 25, 0, 0, tzinfo=dt.UTC))  # in Berlin
MISSED: tuple[Missed, ...] = ("skip", "once", "all")


@settings(deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 * * * *", "@every 11m"]),
    st.sampled_from(MISSED),
    st.lists(st.integers(min_value=-7200, max_value=7200), max_size=30),
)
def test_no_due_time_is_made_twice_however_the_clock_steps(
    change: dt.datetime, cron: str, missed: Missed, steps: list[int]
) -> None:
    task = Task("t", cron, "Europe/Berlin", missed)
    last = now = change
    made: list[dt.datetime] = []
    for step in steps:
        now += dt.timedelta(seconds=step)
        due = due_times(task, last, now)
        made += due
        last = due[-1] if due else last
    assert all(before < after for before, after in itertools.pairwise(made))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(CHANGES), st.sampled_from(["*/7 * * * *", "30 2 * * *"]), st.integers(10, int(FAILOVER_SECONDS)))
def test_a_clock_that_goes_on_misses_nothing_through_the_change_of_the_season(
    change: dt.datetime, cron: str, seconds: int
) -> None:
    task = Task("t", cron, "Europe/Berlin")
    last = now = change
    made: list[dt.datetime] = []
    while now < change + dt.timedelta(hours=4):
        now += dt.timedelta(seconds=seconds)
        due = due_times(task, last, now)
        made += due
        last = due[-1] if due else last
    assert made == due_times(Task("t", cron, "Europe/Berlin", "all"), change, now)


def test_the_hour_that_comes_twice_is_told_apart_where_the_database_has_the_tasks_own_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC).astimezone(zone)
    end = dt.datetime(2026, 10, 25, 1, 30, tzinfo=dt.UTC).astimezone(zone)
    due = due_times(Task("t", "*/20 * * * *", "Europe/Berlin", "all"), start, end)
    assert [at.strftime("%H:%M") for at in due] == ["00:40", "01:00", "01:20"]


def test_what_the_primary_does_of_itself_is_noted_with_how_long_it_took(queue: Any) -> None:
    primary = Primary(Settings(), "n1/1", "n1")
    primary.note_leases(queue, 2.0, 0.001, 1.0)
    assert duties(queue) == [], "it is not primary"
    primary.renew(queue)
    primary.work(queue, 1.0)
    primary.note_leases(queue, 2.0, 0.001, 1.0)
    noted = {row["name"]: row["last_seconds"] for row in duties(queue)}
    assert noted.keys() == {"leases", "limits", "partitions", "retention", "spend", "statistics"}
    assert all(0 < seconds < 5 for seconds in noted.values())
