"""How much a worker takes in hand."""

from __future__ import annotations

import pytest

from workerctl.worker.pace import PLENTY_JOBS, QUICK_JOBS, hand_size, is_plenty


@pytest.mark.parametrize(
    ("seats", "ended", "seconds", "size"),
    [
        (8, 0, 0.0, 8),  # nothing ended: one job a seat
        (8, 7, 0.7, 8),  # 100 ms each, however close together they ended: less than one a seat in 10 ms
        (8, 8, 0.040, 16),  # 5 ms each
        (8, 8, 0.004, QUICK_JOBS),  # 160 in 10 ms, but never more than so many
        (8, 8, 0.0, QUICK_JOBS),  # a clock that has not moved
        (1, 1, 0.001, 10),
        (1, 1, 0.3, 1),
        (500, 300, 0.3, 500),  # enough seats for whatever it gets through
    ],
)
def test_a_worker_takes_one_job_a_seat_or_what_it_gets_through_in_ten_milliseconds(
    seats: int, ended: int, seconds: float, size: int
) -> None:
    assert hand_size(seats, ended, seconds) == size


@pytest.mark.parametrize(
    ("in_hand", "ended", "seconds", "plenty"),
    [
        (PLENTY_JOBS + 1, 50, 0.05, True),  # 1 ms each
        (PLENTY_JOBS, 50, 0.05, False),  # the rest is through before the answer has come
        (400, 50, 0.5, True),  # 10 ms each
        (400, 50, 1.0, False),  # 20 ms each: a free seat is to be filled
        (400, 0, 0.0, False),  # nobody knows how long they take
    ],
)
def test_a_round_trip_waits_for_more_while_many_tiny_jobs_are_still_to_run(
    in_hand: int, ended: int, seconds: float, plenty: bool
) -> None:
    assert is_plenty(in_hand, 500, ended, seconds) is plenty
