"""Pure: in about how long a job begins that waits in line, from what stands before it and how long such runs take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]

FLEET_SECONDS = 0.0001  # of all workers together a job costs so much: 8,000 to 50,000 a second were measured
HALVINGS = 30  # of the time that is looked for


def about_seconds(job: Row, detail: Row) -> float | None:
    """Seconds until it may begin; None where nothing says so: no run of a kind before it has ended within a day, its
    limit is 0, or it waits to run alone. `detail` comes from `workerctl.why_waiting`.
    """
    due = float(job["due_in_seconds"])
    if job["paused_provider"]:
        return max(due, float(job["paused_provider"]["seconds"]))
    if any(limit["most"] == 0 for limit in detail["limits"]):
        return None
    rated = max((rate_seconds(rate, before_at(rate, detail)) for rate in detail["rates"]), default=0.0)
    if due > 0:
        return max(due, rated) if outlasts(detail["rates"], due) else due
    if detail["suspect"]:
        return None
    line = 0.0 if detail["held"] else _line_seconds(detail)
    seat = _seat_of_key_seconds(detail)
    if line is None or seat is None:
        return rated or None
    return max(line, seat, rated, float(detail["ripe_in_seconds"]))


def rate_seconds(rate: Row, before: int) -> float:
    """Seconds until a rate has a start for a job with so many before it, `free` of which may start now.

    The first start leaves the sliding period in `seconds`; each further `most` jobs take a period.
    """
    late = before - rate["free"]
    return 0.0 if late < 0 else float(rate["seconds"] + late // rate["most"] * rate["period_seconds"])


def before_at(rate: Row, detail: Row) -> int:
    """How many stand before it at this rate: of a key's rate those with its key, of a kind's its lane."""
    return int(own_lane(detail)["jobs"] if rate["before"] is None else rate["before"])


def outlasts(rates: Sequence[Row], due_in_seconds: float) -> bool:
    """Whether one of these rates is used up for longer than until then."""
    return any(rate["free"] == 0 and rate["seconds"] > due_in_seconds for rate in rates)


def own_lane(detail: Row) -> Row:
    """What stands before it in its own lane."""
    return next(lane for lane in detail["lanes"] if lane["own"])


def jobs_before(detail: Row) -> int:
    """How many stand before it: at the seats of its key, or in the lanes that its workers serve."""
    return int(detail["held_before"] or 0) if detail["held"] else sum(lane["jobs"] for lane in detail["lanes"])


def left_seconds(run_seconds: float | None, since_seconds: float) -> float:
    """How long a run still takes that began so long ago; one that has outlived its kind's usual time, half of that."""
    if run_seconds is not None and since_seconds < run_seconds:
        return run_seconds - since_seconds
    return since_seconds / 2


def fill_seconds(free_at: Sequence[float], work: float, bounded: Sequence[tuple[float, Sequence[float]]] = ()) -> float:
    """When seats, each free at its time, have a place that no work takes, in seat seconds; `bounded` are works with the
    seats that each may take, as many as its limit has.
    """
    soonest, latest = min(free_at), max(free_at) + (work + sum(theirs for theirs, _ in bounded)) / len(free_at)
    for _ in range(HALVINGS):
        middle = (soonest + latest) / 2
        there = _seat_seconds(free_at, middle)
        taken = min(work, there) + sum(min(theirs, _seat_seconds(seats, middle)) for theirs, seats in bounded)
        if there > taken:
            latest = middle
        else:
            soonest = middle
    return latest


def _line_seconds(detail: Row) -> float | None:
    """Behind what its workers have in hand and what they take first, and behind its own kind at that kind's limit."""
    runs = detail["runs"]
    left = [(run["kind"], left_seconds(runs.get(run["kind"]), run["seconds"])) for run in detail["in_hand"]]
    seats = _free_at([seconds for _, seconds in left], detail["seats"])
    if not seats or any(lane["jobs"] and lane["kind"] not in runs for lane in detail["lanes"]):
        return None
    if len(left) >= len(seats) and any(kind not in runs for kind, _ in left):
        return None  # with a seat free it does not matter when others will be
    work, bounded, own = 0.0, [], 0.0
    for lane in detail["lanes"]:
        jobs = lane["jobs"] if lane["own"] or lane["starts"] is None else min(lane["jobs"], lane["starts"])
        theirs = jobs / lane["batch"] * runs.get(lane["kind"], 0.0)
        if lane["most"] is None or lane["most"] >= len(seats):
            work += theirs
            continue
        names = {lane["kind"]} | ({limit["name"] for limit in detail["limits"]} if lane["own"] else set())
        sitting = [(kind, seconds) for kind, seconds in left if {kind, kind.partition(".")[0]} & names]
        limited = _free_at([seconds for _, seconds in sitting], lane["most"])
        bounded.append((theirs, limited))
        if lane["own"] and limited:
            if _is_of_full_kind(detail) and (not sitting or any(kind not in runs for kind, _ in sitting)):
                return None
            own = fill_seconds(limited, theirs)
    return max(own, fill_seconds(seats, work, bounded), jobs_before(detail) * FLEET_SECONDS)


def _is_of_full_kind(detail: Row) -> bool:
    """Whether the limit of its kind, or of what stands before its first dot, is full."""
    names = {detail["kind"], detail["kind"].partition(".")[0]}
    return any(limit["name"] in names for limit in detail["limits"])


def _seat_of_key_seconds(detail: Row) -> float | None:
    """Behind those that wait for a seat of one of its keys, whether or not a claim has met them yet."""
    run_seconds = detail["runs"].get(detail["kind"])
    longest = 0.0
    for key in detail["keys"]:
        late = key["before"] + key["used"] - key["most"] + 1
        if late > 0 and run_seconds is None:
            return None
        if late > 0:
            longest = max(longest, late * run_seconds / key["most"])
    return longest


def _free_at(left: Sequence[float], seats: int) -> list[float]:
    """When each seat is free: those in hand that take longest sit there, the others have not begun."""
    longest = sorted(left, reverse=True)[:seats]
    return longest + [0.0] * (seats - len(longest))


def _seat_seconds(free_at: Sequence[float], until: float) -> float:
    return sum(until - at for at in free_at if at < until)
