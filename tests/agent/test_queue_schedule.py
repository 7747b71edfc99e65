"""Due times under clocks that step and seasons that change; what the primary does of itself is noted."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workerctl.agent.primary import Primary
from workerctl.agent.schedule import FAILOVER_SECONDS, Missed, Task, due_times, next_due
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


LORD_HOWE = ("2026-04-04T10:00+00:00", "2026-10-03T10:00+00:00")  # half an hour back, half an hour on


@pytest.mark.parametrize("start", LORD_HOWE)
@pytest.mark.parametrize("hour", [0, 1, 2, 6])
def test_a_change_of_half_an_hour_leaves_out_no_due_time(start: str, hour: int) -> None:
    zone, begin = ZoneInfo("Australia/Lord_Howe"), dt.datetime.fromisoformat(start).astimezone(dt.UTC)
    quarters = [begin + dt.timedelta(minutes=minutes) for minutes in range(15, 26 * 60, 15)]
    made = due_times(Task("t", f"*/15 {hour} * * *", zone.key, "all"), begin, quarters[-1])
    assert made == [at for at in quarters if at.astimezone(zone).hour == hour]


def test_a_change_that_the_library_goes_round_in_has_an_end() -> None:
    task, after = Task("t", "*/20 15,45 3 * * *", "Pacific/Chatham"), dt.datetime(2026, 4, 4, 13, 47, 7, tzinfo=dt.UTC)
    assert next_due(task, after) == dt.datetime(2026, 4, 4, 14, 30, tzinfo=dt.UTC)  # 3:15 of the hour that comes twice


@pytest.mark.parametrize("cron", ["30 2 * * *", "0 30 2 * * *", "59 30 2 * * *"])
def test_a_task_of_the_night_is_made_once_a_day_whether_or_not_it_names_its_second(cron: str) -> None:
    zone = ZoneInfo("Europe/Berlin")
    for change in CHANGES:
        start = change.astimezone(zone).replace(hour=0)
        made = due_times(Task("t", cron, zone.key, "all"), start - dt.timedelta(days=1), start + dt.timedelta(days=2))
        assert [at.astimezone(zone).day - start.day for at in made] == [-1, 0, 1]


@given(st.integers(1_000_000, 10**10), st.integers(0, 10**15))
def test_every_goes_on_from_each_of_its_due_times(period_us: int, start_us: int) -> None:
    task = Task("t", f"@every {period_us / 1e6:.6f}s", "UTC")
    after = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=start_us)
    first = next_due(task, after)
    second = next_due(task, first)
    assert first - dt.timedelta(microseconds=period_us) <= after < first
    assert second - first == dt.timedelta(microseconds=period_us)


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
