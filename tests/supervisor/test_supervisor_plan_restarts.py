"""When a slot that failed is tried again, over histories. Pure."""

from __future__ import annotations

import pytest
from toy_history import crashed, crashes, history, ready, spawned
from toy_world import POLICY

from workerctl.supervisor import events as ev
from workerctl.supervisor.actions import Park, Spawn
from workerctl.supervisor.apply import apply
from workerctl.supervisor.health import progress
from workerctl.supervisor.plan import plan
from workerctl.supervisor.restart import backoff_seconds
from workerctl.supervisor.states import Cause, Progress


def test_the_first_crash_is_followed_by_a_new_process_at_once() -> None:
    assert Spawn("app", 1) in plan(history(*crashes(1)), POLICY, 0)


@pytest.mark.parametrize(("count", "delay_seconds"), [(2, 0.5), (3, 1.0), (4, 2.0)])
def test_later_crashes_wait_twice_as_long_each(count: int, delay_seconds: float) -> None:
    roster = history(*crashes(count))
    last = count - 1
    assert Spawn("app", 1) not in plan(roster, POLICY, last + delay_seconds - 0.01)
    assert Spawn("app", 1) in plan(roster, POLICY, last + delay_seconds)


def test_jitter_takes_any_part_of_the_wait() -> None:
    roster = history(*crashes(1), spawned(8, 1), crashed(8, 1, jitter=0.1))
    assert Spawn("app", 1) in plan(roster, POLICY, 1.05)


def test_five_crashes_in_a_minute_park_the_slot() -> None:
    assert Spawn("app", 1) in plan(history(*crashes(4), ev.Booted(5)), POLICY, 10)
    assert plan(history(*crashes(5), ev.Booted(5)), POLICY, 10) == (Park("app", 1),)


@pytest.mark.parametrize(("first_to_last_seconds", "parks"), [(59.9, True), (60.1, False)])
def test_a_minute_is_counted_back_from_the_last_crash(first_to_last_seconds: float, parks: bool) -> None:
    ats = [first_to_last_seconds * n / 4 for n in range(5)]
    facts = [fact for n, at in enumerate(ats) for fact in (spawned(n, at - 1), crashed(n, at))]
    roster = history(*facts, ev.Booted(5))
    assert (Park("app", 1) in plan(roster, POLICY, ats[-1])) is parks


def test_no_wait_is_longer_than_a_minute() -> None:
    waits = [backoff_seconds(tries, POLICY.backoff_limit_seconds, POLICY) for tries in range(12)]
    assert waits == [0, 0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_crashes_of_a_process_that_lived_long_do_not_add_up() -> None:
    facts = [fact for n in range(8) for fact in (spawned(n, 61 * n), ready(n, 61 * n), crashed(n, 61 * n + 60.5))]
    roster = history(*facts, ev.Booted(0))
    assert plan(roster, POLICY, 61 * 7 + 60.5) == (Spawn("app", 1),)


def test_a_parked_slot_is_probed_every_five_minutes_and_parked_by_one_more_crash() -> None:
    parked = history(*crashes(5), ev.Booted(5), ev.Parked(10, "app", 1))
    assert plan(parked, POLICY, 309) == ()
    probing = apply(parked, ev.Unparked(310, "app", 1))
    assert plan(probing, POLICY, 310) == (Spawn("app", 1),)
    again = apply(apply(probing, spawned(9, 310)), crashed(9, 311))
    assert plan(again, POLICY, 311) == (Park("app", 1),)


def test_an_unusable_configuration_parks_at_once_and_is_never_tried_again() -> None:
    facts = (spawned(1, 0), crashed(1, 1, 78, cause=Cause.BOOT_ERROR), ev.Booted(1))
    roster = history(*facts)
    assert plan(roster, POLICY, 1) == (Park("app", 1),)
    parked = apply(roster, ev.Parked(1, "app", 1))
    assert plan(parked, POLICY, 1e6) == ()
    assert progress(parked, POLICY) is Progress.DEGRADED


def test_one_that_served_and_then_finds_its_configuration_unusable_leaves_it_all_degraded() -> None:
    facts = (spawned(1, 0), ready(1, 0), ev.Booted(0), crashed(1, 100, 78), ev.Parked(100, "app", 1))
    assert progress(history(*facts), POLICY) is Progress.DEGRADED


@pytest.mark.parametrize("event", [ev.ResetAsked(20, "app"), ev.RestartAsked(20, "app")])
def test_reset_and_restart_unpark(event: ev.Event) -> None:
    roster = history(*crashes(5), ev.Booted(5), ev.Parked(10, "app", 1), event)
    assert plan(roster, POLICY, 20) == (Spawn("app", 1),)


def test_a_lost_database_costs_no_crash_budget() -> None:
    facts = [
        fact for n in range(30) for fact in (spawned(n, n), crashed(n, n, 69, cause=Cause.DATABASE_AWAY, jitter=0.5))
    ]
    roster = history(*facts, ev.Booted(0))
    assert roster.teams["app"].slots[0].faults == ()
    assert plan(roster, POLICY, 29 + 7) == ()
    assert plan(roster, POLICY, 29 + 7.5) == (Spawn("app", 1),)
    assert progress(roster, POLICY) is Progress.WAITING or progress(roster, POLICY) is Progress.DEGRADED
