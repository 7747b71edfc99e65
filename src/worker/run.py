"""One call of a handler: the jobs it was given, its context, and how far it is."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from ..broker.exchange import Claimed
from ..handler import Context, Handler, InvalidPayload
from .outcome import Outcome, per_job


@dataclass(slots=True, eq=False)
class Run:
    """One attempt; with a batch kind, one call over many jobs. Lives in the hand of the main thread until settled."""

    handler: Handler
    jobs: list[Claimed]
    context: Context
    timeout_seconds: float
    started: float = field(default_factory=time.monotonic)
    task: asyncio.Task[None] | None = None  # of an `async def` handler, owned by the loop's thread
    stop_reason: BaseException | None = None  # why the main thread asked it to stop, if it did
    outcome: Outcome | None = None  # set once, by the thread that ran the handler
    unfit: dict[int, InvalidPayload] = field(
        default_factory=dict
    )  # of a batch call: payloads it is not given, by position

    @property
    def deadline(self) -> float:
        return self.started + self.timeout_seconds

    def outcomes(self, outcome: Outcome) -> list[Outcome]:
        """What the outcome of the call means for each of its jobs."""
        return [outcome] if self.handler.batch == 1 else per_job(outcome, len(self.jobs), self.unfit)

    @property
    def first(self) -> Claimed:
        return self.jobs[0]
