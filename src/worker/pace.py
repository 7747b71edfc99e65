"""How much a worker takes in hand, and when it speaks to the queue, by the pace of its jobs. Pure."""

from __future__ import annotations

QUICK_JOBS = 64  # a worker whose jobs end at once has so many in hand, whatever its seats: see `hand_size`
QUICK_SECONDS = 0.010
PLENTY_JOBS = 100  # while more tiny ones are still to run, a round trip waits for more to say: see `is_plenty`


def hand_size(seats: int, ended: int, seconds: float) -> int:
    """How many jobs a worker may have in hand, given how many ended lately and how long they took together: one a seat,
    or what its seats get through in 10 ms, if that is more. A round trip costs as much as 20 jobs, so that tiny ones
    would wait for it most of the time; what is not begun 20 ms after its claim is put back.
    """
    return max(seats, min(QUICK_JOBS, _pace(seats, ended, seconds)))


def is_plenty(in_hand: int, seats: int, ended: int, seconds: float) -> bool:
    """Whether so many tiny jobs are still to run that the next round trip had better take more at once."""
    return in_hand > PLENTY_JOBS and _pace(seats, ended, seconds) >= seats


def _pace(seats: int, ended: int, seconds: float) -> int:
    """How many jobs the seats get through in 10 ms, by how long those that ended lately took together."""
    return int(seats * QUICK_SECONDS * ended / max(seconds, 1e-9))
