"""Which due times of a scheduled task are to be made now."""

from __future__ import annotations

import datetime as dt
import time

import pytest

from workerctl.agent.agent import IDLE_LOOK_SECONDS, LOOK_AGAIN_SECONDS, longer_pause, pools_of
from workerctl.agent.schedule import GRACE_SECONDS, Missed, Task, due_times, next_due
from workerctl.settings import PoolSettings

MISSED: tuple[Missed, ...] = ("skip", "once", "all")


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


def test_every_due_time_since_the_last_is_made_in_order() -> None:
    task = Task("t", "*/10 * * * * *", "UTC")
    made = due_times(task, at("2026-01-01T00:00:05+00:00"), at("2026-01-01T00:00:39+00:00"))
    assert [due.second for due in made] == [10, 20, 30]


@pytest.mark.parametrize(
    ("word", "due"),
    [("@hourly", "2026-01-01T13:00"), ("@daily", "2026-01-02T00:00"), ("@weekly", "2026-01-04T00:00"),
     ("@monthly", "2026-02-01T00:00"), ("@yearly", "2027-01-01T00:00")],
)  # fmt: skip
def test_crons_words_are_understood(word: str, due: str) -> None:
    assert next_due(Task("t", word, "UTC"), at("2026-01-01T12:30:00+00:00")) == at(f"{due}:00+00:00")


def test_a_due_time_is_made_once() -> None:
    task = Task("t", "* * * * *", "UTC")
    last = due_times(task, at("2026-01-01T00:00:30+00:00"), at("2026-01-01T00:01:00+00:00"))[-1]
    assert due_times(task, last, at("2026-01-01T00:01:59+00:00")) == []


def test_what_was_missed_for_long_is_skipped() -> None:
    task = Task("t", "0 * * * *", "UTC")
    now = at("2026-01-01T12:30:00+00:00")
    assert due_times(task, at("2026-01-01T00:00:00+00:00"), now) == []
    just_missed = at("2026-01-01T12:00:00+00:00") + dt.timedelta(seconds=GRACE_SECONDS - 1)
    assert len(due_times(task, at("2026-01-01T00:00:00+00:00"), just_missed)) == 1


def test_a_task_keeps_its_own_time_zone_through_daylight_saving() -> None:
    task = Task("t", "30 2 * * *", "Europe/Berlin")
    summer = next_due(task, at("2026-03-28T12:00:00+00:00"))
    assert summer.astimezone(dt.UTC) == at("2026-03-29T01:00:00+00:00"), (
        "02:30 does not exist that night: 03:00 is next"
    )
    assert next_due(Task("t", "0 3 * * *", "Asia/Shanghai"), at("2026-01-01T00:00:00+00:00")) == at(
        "2026-01-01T19:00:00+00:00"
    )


def test_a_clock_that_steps_back_makes_nothing_twice() -> None:
    task = Task("t", "* * * * *", "UTC")
    assert due_times(task, at("2026-01-01T01:00:00+00:00"), at("2026-01-01T00:10:00+00:00")) == []


def test_only_pools_that_serve_a_queue_are_woken() -> None:
    pools = {"default": PoolSettings(queues=()), "content": PoolSettings(queues=("image", "video"))}
    assert pools_of(["image"], pools) == {"content"}
    assert pools_of(["anything"], pools) == {"default"}
    assert pools_of(["image", "x"], pools) == {"content", "default"}
    assert pools_of([], pools) == set()


def test_missed_due_times_go_by_the_setting() -> None:
    last, now = at("2026-01-01T00:00:00+00:00"), at("2026-01-01T03:30:00+00:00")
    made = {
        missed: [due.hour for due in due_times(Task("t", "0 * * * *", "UTC", missed), last, now)] for missed in MISSED
    }
    assert made == {"skip": [], "once": [3], "all": [1, 2, 3]}


@pytest.mark.parametrize("stopped_seconds", [100, 300, 3600, 90 * 86400])
def test_a_task_that_comes_often_is_not_made_up_for_all_at_once(stopped_seconds: int) -> None:
    now = at("2026-01-01T00:00:25+00:00")
    last = now - dt.timedelta(seconds=stopped_seconds)
    made = {missed: due_times(Task("t", "@every 20s", "UTC", missed), last, now) for missed in MISSED}
    assert [len(made[missed]) for missed in MISSED] == [3, 3, min(1000, stopped_seconds // 20)]
    assert made["skip"] == made["once"] == made["all"][-3:], "5, 25 and 45 s ago: a failover may take as long"


def test_a_task_of_every_second_that_nobody_was_there_for_for_months_is_dealt_with_at_once() -> None:
    now = at("2026-06-01T00:00:00+00:00")
    began = time.monotonic()
    made = due_times(Task("t", "* * * * * *", "UTC", "all"), at("2026-01-01T00:00:00+00:00"), now)
    assert time.monotonic() - began < 5, "an agent that is busy for longer is taken for hung, again and again"
    assert made == [now - dt.timedelta(seconds=seconds) for seconds in reversed(range(1000))]


def test_once_is_not_made_beside_a_due_time_that_is_in_time() -> None:
    last, now = at("2026-01-01T00:00:00+00:00"), at("2026-01-01T03:01:00+00:00")
    assert [due.hour for due in due_times(Task("t", "0 * * * *", "UTC", "once"), last, now)] == [3]


def test_every_counts_alike_on_every_machine() -> None:
    task = Task("t", "@every 10m", "UTC")
    assert next_due(task, at("2026-01-01T00:03:00+00:00")) == at("2026-01-01T00:10:00+00:00")
    assert next_due(task, at("2026-01-01T00:10:00+00:00")) == at("2026-01-01T00:20:00+00:00")


def test_a_job_whose_ring_was_swallowed_is_found_soon_after_its_commit_however_long_that_took() -> None:
    looks, pause = [LOOK_AGAIN_SECONDS], LOOK_AGAIN_SECONDS
    while looks[-1] < 10:
        pause = longer_pause(pause)
        looks.append(looks[-1] + pause)
    for milliseconds in range(1, 9000):
        commit = milliseconds / 1000
        wait = min(look for look in looks if look >= commit) - commit
        assert wait <= min(max(LOOK_AGAIN_SECONDS, 4 * commit), IDLE_LOOK_SECONDS)
