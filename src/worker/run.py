"""One call of a handler: the jobs it was given, its context, and how far it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import msgspec

from ..broker.exchange import Claimed
from ..handler import Context, Handler, InvalidPayload
from .outcome import Outcome, per_job


class Run(msgspec.Struct, eq=False):
    """One attempt; with a batch kind, one call over many jobs. Lives in the hand of the main thread until settled."""

    handler: Handler
    jobs: list[Claimed]
    context: Context
    timeout_seconds: float
    started: float = msgspec.field(default_factory=time.monotonic)  # until it has a seat, when it was claimed
    seated: bool = False
    task: asyncio.Task[None] | None = None  # that calls an `async def` handler, owned by the loop's thread
    stop_reason: BaseException | None = None  # why the main thread asked it to stop, if it did
    outcome: Outcome | None = None  # set once, by the thread that ran the handler, at `ended`
    ended: float | None = None
    unfit: dict[int, InvalidPayload] | None = None  # of a batch call: the payloads that it is not given, by position

    def sit_down(self) -> None:
        """It begins now. Seated last: who sees it sit sees its own deadline."""
        self.started = now = time.monotonic()
        self.context.deadline = now + self.timeout_seconds
        self.seated = True

    @property
    def is_running(self) -> bool:
        """Whether it has a seat now."""
        return self.seated and self.outcome is None

    @property
    def seconds(self) -> float:
        """How long it ran, or has run so far."""
        return (self.ended or time.monotonic()) - self.started

    @property
    def deadline(self) -> float:
        return self.started + self.timeout_seconds

    def outcomes(self, outcome: Outcome) -> Iterable[tuple[Claimed, Outcome]]:
        """Each of its jobs with what the outcome of the call means for it."""
        if self.handler.batch == 1:
            return ((self.jobs[0], outcome),)
        return zip(self.jobs, per_job(outcome, len(self.jobs), self.unfit or {}), strict=True)

    @property
    def first(self) -> Claimed:
        return self.jobs[0]
