"""How much a worker takes in hand."""

from __future__ import annotations

import pytest

from workerctl.worker.seats import QUICK_JOBS, hand_size


@pytest.mark.parametrize(
    ("seats", "ended", "seconds", "size"),
    [
        (8, 0, 0.5, 8),  # nothing ended: one job a seat
        (8, 8, 0.020, 8),  # 4 in 10 ms: fewer than there are seats
        (8, 8, 0.005, 16),  # 16 in 10 ms
        (8, 8, 0.0004, QUICK_JOBS),  # 200 in 10 ms, but never more than so many
        (1, 1, 0.001, 10),
        (1, 1, 0.3, 1),
        (500, 300, 0.002, 500),  # enough seats for whatever it gets through
        (8, 3, 0.0, 8),  # a clock that has not moved
    ],
)
def test_a_worker_takes_one_job_a_seat_or_what_it_gets_through_in_ten_milliseconds(
    seats: int, ended: int, seconds: float, size: int
) -> None:
    assert hand_size(seats, ended, seconds) == size
