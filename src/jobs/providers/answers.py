"""Pure: what a provider's answer means, and the ways in which a call can go wrong."""

from __future__ import annotations

import datetime as dt
import email.utils
from collections.abc import Mapping
from typing import Any

import msgspec

WORDS_LIMIT = 500  # characters of a provider's own words
RETRY_AFTER_LIMIT_SECONDS = 3600.0
QUOTA_PAUSE_SECONDS = 300.0  # an account without money is not well again in seconds
_BROKEN = frozenset({408, 409, 425})  # not our request's fault, as are all from 500 on


class CallFailed(Exception):
    """A call that brought nothing; the class says what that means for the next one."""


class Throttled(CallFailed):
    """Too many calls: the provider wants to be left alone, for `after_seconds` where it says so.

    Free of charge, but where something was made already (`made`) and only its download has to wait.
    """

    def __init__(self, words: str, after_seconds: float | None = None, *, made: bool = False) -> None:
        super().__init__(words)
        self.after_seconds = after_seconds
        self.made = made


class Rejected(CallFailed):
    """The provider refuses this very request, in its own words; asking again is useless. Free of charge."""


class Broken(CallFailed):
    """The provider says that it failed, or could not be reached: nothing was made. Free of charge."""


class Unsettled(CallFailed):
    """Cut off before the answer was whole: it may have been made and paid for."""


class Useless(CallFailed):
    """Answered and paid for, but nobody can use what came."""


def check_answer(status: int, headers: Mapping[str, str], body: bytes, now: dt.datetime) -> None:
    """Return where the status means success; raise what else it means, in the provider's words."""
    if 200 <= status < 300:
        return
    said = f"{status}: {words_of(body)}"
    if status == 429:
        after = retry_after_seconds(headers.get("retry-after"), now)
        out_of_money = b"insufficient_quota" in body
        raise Throttled(said, max(after or 0.0, QUOTA_PAUSE_SECONDS) if out_of_money else after)
    if status == 503 and headers.get("retry-after"):
        raise Throttled(said, retry_after_seconds(headers.get("retry-after"), now))
    if status >= 500 or status in _BROKEN:
        raise Broken(said)
    raise Rejected(said)


def retry_after_seconds(text: str | None, now: dt.datetime) -> float | None:
    """Seconds of a Retry-After header, a number or a date, up to an hour; None where there is none that makes sense."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (email.utils.parsedate_to_datetime(text) - now).total_seconds()
        except (ValueError, TypeError):
            return None
    if seconds != seconds:  # NaN
        return None
    return min(max(0.0, seconds), RETRY_AFTER_LIMIT_SECONDS)


def words_of(body: bytes) -> str:
    """What an error's body says to people: OpenAI's error.message, fal's detail, else its beginning."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _short(body.decode("utf-8", "replace"))
    for path in (("error", "message"), ("error",), ("detail",), ("message",)):
        found: Any = document
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, str) and found:
            return _short(found)
        if isinstance(found, list) and found:
            return _short("; ".join(_detail(item) for item in found[:5]))
    return _short(body.decode("utf-8", "replace"))


def _detail(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    place = ".".join(str(part) for part in item.get("loc") or ())
    return f"{place + ': ' if place else ''}{item.get('msg', '')}{_kind(item)}"


def _kind(item: dict[str, Any]) -> str:
    return f" ({item['type']})" if item.get("type") else ""


def _short(text: str) -> str:
    line = " ".join(text.replace("\x00", "\ufffd").split()) or "no words"
    return line if len(line) <= WORDS_LIMIT else line[: WORDS_LIMIT - 1] + "…"
