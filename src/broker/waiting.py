"""Pure: why a job that is not done has not begun, in one line, and about how long that will take."""

from __future__ import annotations

import datetime as dt
from typing import Any

Row = dict[str, Any]

COUNTED = 1000  # more jobs before it than so many are not counted


def waits_because(job: Row, detail: Row | None) -> str | None:
    """The strongest reason; None for a job that waits for nothing. `detail` comes from `workerctl.why_waiting`."""
    if job["status"] == "waiting":
        ended = job["children_succeeded"] + job["children_dead"] + job["children_cancelled"]
        return f"{job['children_total'] - ended} of {job['children_total']} children are not done"
    if job["status"] != "pending":
        return None
    if job["paused"]:
        return f"queue {job['queue']!r} is paused"
    if not job["any_worker"]:
        return "no worker runs; see `workerctl status --fleet`"
    if not job["kind_known"]:
        return f"no worker knows the kind {job['kind']!r}"
    if not job["served"]:
        return f"no worker serves the queue {job['queue']!r}"
    if (pause := job["paused_provider"]) and job["due_in_seconds"] <= 0:
        return f"provider {pause['name']} is left alone for {_span(pause['seconds'])}: {pause['reason']}"
    if detail is None:
        return "waiting for a free worker"
    about = about_seconds(job, detail)
    how = "at least" if detail["ahead"] >= COUNTED else "about"
    soon = "" if about is None or job["due_in_seconds"] > 0 else f"; {how} {_span(about)}"
    return (_limited(job, detail) or _in_line(job, detail)) + soon


def about_seconds(job: Row, detail: Row) -> float | None:
    """Seconds until it may begin, as its kind went within ten minutes, an hour or a day; None where that says nothing.

    A kind that had little to do went slowly: it is not taken to need longer than one seat would. Its pace says
    nothing of jobs of other kinds that stand before it.
    """
    if job["due_in_seconds"] > 0:
        return float(job["due_in_seconds"])
    if job["paused_provider"]:
        return float(job["paused_provider"]["seconds"])
    if any(limit["most"] == 0 for limit in detail["limits"]):
        return None
    if detail["rates"]:
        return max(_until_start(rate, detail["ahead"]) for rate in detail["rates"])
    seats = min((limit["most"] for limit in detail["limits"]), default=0)
    if detail["held"] and seats and detail["run_seconds"]:
        return float((detail["ahead"] + 1) * detail["run_seconds"] / seats)
    if detail["per_second"] and not detail["suspect"] and not detail["of_others"]:
        seconds_a_job = min(1 / detail["per_second"], detail["run_seconds"])
        return float(max(detail["ripe_in_seconds"], (detail["ahead"] + 1) * seconds_a_job))
    return None


def _until_start(rate: Row, ahead: int) -> float:
    """Those before it take a period for each `most` of them; of a key's rate it is not known how many have its key."""
    is_of_kind = rate["name"] == rate["key"] and ":" not in rate["name"]
    return float(rate["seconds"] + (ahead // rate["most"] * rate["period_seconds"] if is_of_kind else 0))


def _limited(job: Row, detail: Row) -> str:
    if job["due_in_seconds"] <= 0 and detail["limits"]:
        limit = min(detail["limits"], key=lambda each: int(each["most"]))
        if limit["most"] == 0:
            return f"the limit of {limit['key']} is 0: none of its jobs begins"
        holders = limit["holders"] or []
        who = ", ".join(f"job {h['job_id']} on {h['worker']} for {_span(h['seconds'])}" for h in holders)
        more = f" and {limit['used'] - len(holders)} more" if limit["used"] > len(holders) else ""
        held_by = f": held by {who}{more}" if who else ""
        place = f"; {_before(detail['ahead'])}" if detail["held"] or detail["ahead"] else ""
        return f"waiting for a seat of {limit['key']} ({limit['used']} of {limit['most']} taken{held_by}){place}"
    if detail["rates"]:
        rate = max(detail["rates"], key=lambda each: float(each["seconds"]))
        if job["due_in_seconds"] > rate["seconds"] + 1:  # by its own time: a rate moves it to when it is free
            return ""
        place = f"; {_before(detail['ahead'])}" if detail["ahead"] and job["due_in_seconds"] <= 0 else ""
        return f"rate {rate['key']} is used up ({rate['most']} starts) until {rate['until'].replace('T', ' ')}{place}"
    return ""


def _in_line(job: Row, detail: Row) -> str:
    if job["due_in_seconds"] > 0:
        return f"due in {job['due_in_seconds']:.0f} s, at {job['run_at'].astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}Z"
    if detail["held"]:
        return f"waiting for its turn at a seat of {' or '.join(job['limit_keys'])}; {_before(detail['ahead'])}"
    if detail["suspect"]:
        return "a worker died with it: it waits for a worker with empty hands, to run alone"
    if detail["ripe_in_seconds"] > 0:
        place = f"number {detail['ahead'] - detail['of_others'] + 1} of {detail['batch']}"
        return f"gathering a batch: {place}, for {_span(detail['ripe_in_seconds'])} at most"
    return f"waiting for a free worker; {_before(detail['ahead'])}"


def _before(ahead: int) -> str:
    if ahead == 0:
        return "next in line"
    return f"{'more than ' if ahead >= COUNTED else ''}{ahead} before it"


def _span(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
