"""Durations and sizes as people write them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST_SECONDS = 10_000 * 86400.0

CRON_WORDS = {  # as cron has them
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

# PM2's rule: MB is 1024 * 1024, and so is a bare M
_BYTES = {"": 1, "B": 1} | {
    f"{prefix}{suffix}": 1024**power for power, prefix in enumerate("KMGT", start=1) for suffix in ("", "B", "IB")
}


def duration_seconds(value: Any) -> float:
    """Seconds in `"500ms"`, `"10s"`, `"5m"`, `"2h"`, `"1d"` or a bare number of seconds.

    Raises ValueError, whose text says what is wrong, for everything else, also for over 10,000 days.
    """
    if isinstance(value, str):
        number, unit = _split(value)
        if unit not in _SECONDS:
            raise ValueError(f"unknown duration unit {unit!r}" if unit else "a duration in quotes needs a unit")
        seconds = number * _SECONDS[unit]
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a duration")
    else:
        seconds = float(value)
    if not math.isfinite(seconds) or seconds > _LONGEST_SECONDS:
        raise ValueError("longer than 10,000 days")
    return seconds


def rate(text: str) -> tuple[int, float]:
    """(starts, seconds) of "60/1m". Raises ValueError for anything else."""
    count, separator, period = text.partition("/")
    if not separator or not count.strip().isdecimal() or int(count) < 1:
        raise ValueError('a rate is a number of starts per duration, such as "60/1m"')
    seconds = duration_seconds(period.strip())
    if seconds <= 0:
        raise ValueError("the period must be longer than 0")
    return int(count), seconds


def cron_fields(cron: str) -> str:
    """`@daily` and its like as the fields that they stand for; any other expression as it is."""
    return CRON_WORDS.get(cron, cron)


def every_seconds(cron: str) -> float | None:
    """Seconds of `@every 10m`; None for a cron expression. Raises ValueError where the duration is none."""
    if not cron.startswith("@every"):
        return None
    seconds = duration_seconds(cron.removeprefix("@every").strip())
    if seconds < 1:
        raise ValueError("@every needs at least 1s")
    return seconds


def size_bytes(value: Any, whole_bytes: Callable[[], int] | None = None) -> int:
    """Bytes in `"500MB"`, `"500M"`, `"1.5GB"` or a bare number; MB is 1024 * 1024.

    `"80%"` is that share of `whole_bytes()`, refused where there is none. Raises ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("not a size")
    if isinstance(value, int):
        return value
    number, unit = _split(value)
    if unit == "%" and whole_bytes is not None:
        if number > 100:
            raise ValueError("more than 100%")
        return int(whole_bytes() * number / 100)
    factor = _BYTES.get(unit.upper())
    if factor is None:
        raise ValueError(f"unknown size unit {unit!r}")
    return int(number * factor)


def duration_text(seconds: float) -> str:
    """The shortest way to write it: `30s`, `5m`, `500ms`."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms" if seconds else "0s"


def size_text(count_bytes: int) -> str:
    """The shortest way to write it: `500MB`, `1536KB`, `12B`."""
    for unit in ("TB", "GB", "MB", "KB"):
        if count_bytes and count_bytes % _BYTES[unit] == 0:
            return f"{count_bytes // _BYTES[unit]}{unit}"
    return f"{count_bytes}B"


def _split(text: str) -> tuple[float, str]:
    stripped = text.strip()
    digits = len(stripped) - len(stripped.lstrip("0123456789."))
    try:
        number = float(stripped[:digits])
    except ValueError:
        raise ValueError("no number in front") from None
    return number, stripped[digits:].strip()
