"""Pure: why a job that is not done has not begun, in one line, and about how long that will take."""

from __future__ import annotations

import datetime as dt
from typing import Any

from .line import about_seconds, before_at, jobs_before, outlasts, own_lane

Row = dict[str, Any]

COUNTED = 1000  # more jobs than so many are guessed


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
    limited = _limited(job, detail)
    if job["due_in_seconds"] > 0 and not limited:
        return f"due in {job['due_in_seconds']:.0f} s, at {job['run_at'].astimezone(dt.UTC):%Y-%m-%d %H:%M:%S}Z"
    about = about_seconds(job, detail)
    return (limited or _in_line(job, detail)) + ("" if about is None else f"; {_soon(about)}")


def _limited(job: Row, detail: Row) -> str:
    if job["due_in_seconds"] <= 0 and detail["limits"]:
        limit = min(detail["limits"], key=lambda each: int(each["most"]))
        if limit["most"] == 0:
            return f"the limit of {limit['key']} is 0: none of its jobs begins"
        holders = limit["holders"] or []
        who = ", ".join(f"job {h['job_id']} on {h['worker']} for {_span(h['seconds'])}" for h in holders)
        more = f" and {limit['used'] - len(holders)} more" if limit["used"] > len(holders) else ""
        held_by = f": held by {who}{more}" if who else ""
        before = jobs_before(detail) if detail["held"] else own_lane(detail)["jobs"]
        place = f"; {_before(before)}" if detail["held"] or before else ""
        return f"waiting for a seat of {limit['key']} ({limit['used']} of {limit['most']} taken{held_by}){place}"
    used_up = [rate for rate in detail["rates"] if rate["free"] == 0]
    if outlasts(used_up, job["due_in_seconds"]):
        rate = max(used_up, key=lambda each: float(each["seconds"]))
        before = before_at(rate, detail)
        place = f"; {_before(before)}" if before else ""
        return f"rate {rate['key']} is used up ({rate['most']} starts) until {rate['until'].replace('T', ' ')}{place}"
    return ""


def _in_line(job: Row, detail: Row) -> str:
    if detail["held"]:
        return f"waiting for its turn at a seat of {' or '.join(job['limit_keys'])}; {_before(jobs_before(detail))}"
    if detail["suspect"]:
        return "a worker died with it: it waits for a worker with empty hands, to run alone"
    if detail["ripe_in_seconds"] > 0:
        place = f"number {own_lane(detail)['jobs'] + 1} of {detail['batch']}"
        return f"gathering a batch: {place}, for {_span(detail['ripe_in_seconds'])} at most"
    return f"waiting for a free worker; {_before(jobs_before(detail))}"


def _before(jobs: int) -> str:
    if jobs == 0:
        return "next in line"
    return f"{jobs} before it" if jobs <= COUNTED else f"about {jobs} before it"


def _soon(seconds: float) -> str:
    return f"about {_span(seconds)}" if seconds >= 1 else "within a second"


def _span(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
