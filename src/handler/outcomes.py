"""What a handler may raise, and what is raised at those who enqueue."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..contract import WorkerctlError

LONGEST_SECONDS = 10_000 * 86400.0  # as durations of the config; the queue has no time beyond some thousand years


class InvalidPayload(WorkerctlError):
    """The payload does not fit its handler's type; the message has the path of the wrong field."""


class WrongField(ValueError):
    """Raised by a kind's check of its payload: one field cannot be, for a reason that its type does not say."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{reason} - at `$.{path}`")


class Refused(WorkerctlError):
    """A job that the queue does not take; the message says which part of it and why.

    `put_in` are the ids of the first jobs of the same `enqueue_many`, where its earlier round trips are committed.
    """

    put_in: Sequence[int] = ()


class QueueFull(Refused):
    """Admission: too many jobs of this plan or kind are pending. Try again after `retry_after_seconds`.

    That is an hour where no wait would help, because more are enqueued at once than may ever be pending.
    """

    def __init__(self, reason: str, retry_after_seconds: float) -> None:
        super().__init__(reason)
        self.retry_after_seconds = retry_after_seconds


class Retry(Exception):
    """Raised by a handler: this attempt failed; try again after `after_seconds`, else after the usual delay."""

    def __init__(self, reason: str = "", *, after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.after_seconds = None if after_seconds is None else _seconds(self, after_seconds)


class Snooze(Exception):
    """Raised by a handler: not now, ask again after `after_seconds`. Costs no failure."""

    def __init__(self, after_seconds: float, reason: str = "") -> None:
        super().__init__(reason)
        self.after_seconds = _seconds(self, after_seconds)


class Cancel(Exception):
    """Raised by a handler: this job is not wanted any more; it ends `cancelled`."""


class ClaimLost(Cancel):
    """This attempt is not the job's any more: the worker had been given up. Nothing that it says is written."""


class Fail(Exception):
    """Raised by a handler: no later attempt can succeed; the job ends `dead` at once with this reason."""


def miscounted(outcomes: int, payloads: int) -> Fail:
    """What a handler with `batch` ends with whose list has not one outcome for each payload."""
    return Fail(f"the handler returned {outcomes} outcomes for {payloads} payloads; it returns one for each")


def _seconds(asked: Exception, seconds: float) -> float:
    """Raises ValueError for what is no time: the job would come back at once, for ever."""
    if not math.isfinite(seconds):
        raise ValueError(f"{type(asked).__name__}: {seconds} is no number of seconds")
    if seconds > LONGEST_SECONDS:
        raise ValueError(f"{type(asked).__name__}: {seconds:g} s are longer than 10,000 days")
    return seconds
