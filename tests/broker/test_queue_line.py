"""In about how long a job begins that waits in line: the arithmetic alone."""

from __future__ import annotations

from typing import Any

import pytest

from workerctl.broker.line import about_seconds, fill_seconds, left_seconds, rate_seconds

DUE = {"due_in_seconds": 0.0, "paused_provider": None}


def lane(kind: str, jobs: int, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "jobs": jobs, "own": False, "batch": 1, "most": None, "starts": None} | more


def wait(
    *lanes: dict[str, Any], seats: int, in_hand: dict[str, list[float]] | None = None, **more: Any
) -> float | None:
    """Of a job in the first of these lanes, whose runs take 10 s (`a`), 1 s (`b`) or 3,600 s (`long`)."""
    first, *others = lanes
    hand = [{"kind": kind, "seconds": since} for kind, sinces in (in_hand or {}).items() for since in sinces]
    detail = {"kind": first["kind"], "lanes": [first | {"own": True}, *others], "seats": seats, "in_hand": hand}
    plain = {
        "limits": [],
        "keys": [],
        "rates": [],
        "held": False,
        "held_before": None,
        "suspect": False,
        "ripe_in_seconds": 0,
    }
    return about_seconds(DUE, plain | detail | {"runs": {"a": 10.0, "b": 1.0, "long": 3600.0}} | more)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (wait(lane("a", 0), seats=4), 0),
        (wait(lane("a", 0), seats=2, in_hand={"a": [1, 4]}), 6),  # the one that began first leaves first
        (wait(lane("a", 0), seats=2, in_hand={"a": [1]}), 0),
        (wait(lane("a", 4), seats=2, in_hand={"a": [0, 0]}), 30),
        (wait(lane("a", 2), lane("b", 20), seats=4), 10),  # 2 of 10 s and 20 of 1 s
        (wait(lane("b", 0), lane("long", 2, most=2), seats=4), 0),  # its limit leaves seats to others
        (wait(lane("b", 0), lane("long", 9, most=2), seats=4, in_hand={"long": [9, 9], "a": [2, 4]}), 6),
        (wait(lane("long", 2, most=2), seats=8, in_hand={"long": [1800, 600]}), 6000),  # 1,800 and 3,000 s are left
        (wait(lane("a", 0, most=1), seats=8, in_hand={"a": [2]}), 8),
        (wait(lane("b", 0), lane("a", 500, starts=2), seats=2), 10),  # a rate lets two of them begin
        (wait(lane("a", 1000, batch=500), seats=1), 20),
        (wait(lane("b", 0), lane("a", 1), seats=1, in_hand={"b": [30.0]}), 25),  # it took 30 times as long as usual
        (wait(lane("a", 0), seats=4, in_hand={"b": [0.1] * 64}), 0.9),  # tiny ones are taken ahead
        (wait(lane("a", 0), seats=1, in_hand={"b": [0.5], "a": [0]}), 10),
        (wait(lane("free", 500_000), seats=64, runs={"free": 1e-6}), 50),  # no fleet is faster than that
        (wait(lane("a", 0), seats=4, ripe_in_seconds=7.0), 7),
    ],
)
def test_a_line_moves_on_as_seats_become_free(said: float, seconds: float) -> None:
    assert said == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize(
    "said",
    [
        wait(lane("a", 0), lane("unheard", 1), seats=4),
        wait(lane("a", 1), seats=0),
        wait(lane("a", 0), seats=4, suspect=True),
        wait(lane("a", 0, most=0), seats=4, limits=[{"name": "a", "most": 0}]),
    ],
)
def test_what_nothing_tells_is_not_guessed(said: float | None) -> None:
    assert said is None


@pytest.mark.parametrize(("before", "seconds"), [(0, 0), (2, 0), (3, 40), (12, 40), (13, 100), (52, 280)])
def test_a_rate_gives_its_free_starts_at_once_and_all_of_them_once_a_period(before: int, seconds: float) -> None:
    assert rate_seconds({"free": 3, "most": 10, "period_seconds": 60.0, "seconds": 40.0}, before) == seconds


def test_who_waits_for_a_seat_of_a_key_waits_for_those_before_it_there() -> None:
    def at(before: int, used: int = 2) -> dict[str, Any]:
        return {"keys": [{"most": 2, "used": used, "before": before}]}

    assert wait(lane("a", 900), seats=4, held=True, held_before=5, **at(5)) == 30
    assert wait(lane("a", 0), seats=4, **at(0)) == 5
    assert wait(lane("a", 8), seats=400, **at(8)) == 45  # a claim has not met it yet
    assert wait(lane("a", 8), seats=400, **at(8, used=0)) == 35
    assert wait(lane("a", 1), seats=400, **at(1, used=0)) < 1
    assert wait(lane("a", 8), seats=400, **at(8), runs={}) is None


def test_a_run_that_takes_longer_than_usual_is_taken_for_a_long_one() -> None:
    assert left_seconds(10.0, 4.0) == 6
    assert left_seconds(10.0, 60.0) == left_seconds(None, 60.0) == 30


def test_seats_fill_like_a_basin() -> None:
    assert fill_seconds([0, 4, 10], 12.0) == pytest.approx(8)
    assert fill_seconds([5, 9], 0.0) == pytest.approx(5)
    assert fill_seconds([0, 0], 6.0, [(100.0, [0])]) == pytest.approx(6)
