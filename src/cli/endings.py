"""Pure: how processes ended, as text: a row for each, and everything about the latest."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .plain import seconds, size, table
from .top_samples import sparkline

HEADER = ("when", "slot", "pid", "cause", "how", "uptime", "memory", "jobs in hand", "last words")
CURVE_COLUMNS = 40
NOT_SEEN = "not seen"
MEBIBYTE = 1 << 20


def exits_table(records: Sequence[dict[str, Any]]) -> str:
    """Recorded exits, newest last, in the time of the one who reads."""
    rows = [
        [
            local_time(record["at"]),
            f"{record['group']}/{record['slot']}",
            str(record.get("pid") or "-"),
            str(record["cause"]),
            how(record),
            seconds(record.get("uptime_seconds")),
            size(record.get("rss_bytes") or None),
            str(record.get("jobs_in_hand", "")),
            str(record.get("message") or ""),
        ]
        for record in records
    ]
    spare = tuple(HEADER.index(name) for name in ("jobs in hand", "uptime", "memory", "pid"))
    return table(HEADER, rows, right=frozenset({2, 6, 7}), spare=spare, cut_last=True)


def ending(record: dict[str, Any], user_name: Callable[[int], str]) -> str:
    """One end: cause, signal or exit code, who asked, the memory's last minutes, the jobs in hand."""
    if how(record) == NOT_SEEN:
        return f"{'cause':<12}{record['cause']}; its supervisor had been killed: nobody saw how, or with what in hand"
    pairs = [("cause", f"{record['cause']}, {how(record)} after {seconds(record.get('uptime_seconds'))}")]
    if record.get("message"):
        pairs.append(("last words", str(record["message"])))
    if record.get("asked_by"):
        pairs.append(("asked by", asked_by(record["asked_by"], user_name)))
    pairs.append(("memory", memory(record)))
    if grown := growth([record.get("growth") or []]):
        pairs.append(("grown by", ("\n" + " " * 12).join(grown)))
    jobs = record.get("jobs") or []
    told = [f"{job.get('id')} {job.get('kind')} for {seconds(job.get('seconds'))}" for job in jobs]
    if (unnamed := int(record.get("jobs_in_hand") or 0) - len(told)) > 0:
        told.append(f"{unnamed} more" if told else f"{unnamed}, not named")
    if told or record.get("incarnation", "") is not None:  # an app has no jobs
        pairs.append(("jobs", ("\n" + " " * 12).join(told) or _none_in_hand(record)))
    return "\n".join(f"{name:<12}{value}" for name, value in pairs)


def _none_in_hand(record: dict[str, Any]) -> str:
    """Of who was killed that is as old as its last word: it may have taken a job since."""
    heard = record.get("heard_seconds_ago")
    if heard is None or record.get("exit_code") == 0:
        return "none in hand"
    return f"none in hand {seconds(heard)} before, when it was last heard"


def asked_by(asker: dict[str, Any], user_name: Callable[[int], str]) -> str:
    """Who it was, in one line."""
    text = str(asker.get("command"))
    if asker.get("uid") is not None:
        text += f", by {user_name(asker['uid'])} (uid {asker['uid']}), pid {asker.get('pid')}"
    if asker.get("command_line"):
        text += f": {asker['command_line']}"
    return text + (f"; reason: {asker['reason']}" if asker.get("reason") else "")


def memory(record: dict[str, Any]) -> str:
    """The curve of the last samples, what it went between, and the limit."""
    curve = record.get("memory_curve_mb") or []
    if not curve:
        return "not measured: it ended before its first sample"
    least, most = min(curve), max(curve)
    period = float(record.get("memory_period_seconds") or 0)
    line = sparkline([value - least for value in curve], min(CURVE_COLUMNS, len(curve)), float(most - least))
    limit = record.get("memory_limit_bytes")
    return (
        f"{line} {least} to {most} MB in {seconds(period * len(curve))}, {curve[-1]} MB at last"
        f"{f', limit {limit // MEBIBYTE} MB' if limit else ''}"
    )


def growth(told: Iterable[Iterable[dict[str, Any]]]) -> list[str]:
    """By how much workers grew with which kinds in hand, the most first; what is below 1 MB is noise."""
    bytes_by_kind: Counter[str] = Counter()
    jobs_by_kind: Counter[str] = Counter()
    for kinds in told:
        for each in kinds:
            bytes_by_kind[each["kind"]] += each["bytes"]
            jobs_by_kind[each["kind"]] += each["jobs"]
    grown = [(kind, most) for kind, most in bytes_by_kind.most_common() if most >= MEBIBYTE]
    return [f"{size(most)} with {kind} in hand ({jobs_by_kind[kind]} jobs)" for kind, most in grown]


def how(record: dict[str, Any]) -> str:
    """Exit code or signal; nobody saw those of a process that outlived its supervisor."""
    if record.get("signal") is None and record.get("exit_code") is None:
        return NOT_SEEN
    return f"signal {record['signal']}" if record.get("signal") else f"exit {record.get('exit_code')}"


def local_time(text: object) -> str:
    try:
        at = dt.datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
