"""What the fal queue knows of one request: a timeline that is fixed when it is submitted."""

from __future__ import annotations

import heapq
import threading
import time
from dataclasses import dataclass
from typing import Any

from .fal_models import Input
from .ledger import Entry

QUEUED, RUNNING, COMPLETED = "IN_QUEUE", "IN_PROGRESS", "COMPLETED"
STATES = (QUEUED, RUNNING, COMPLETED)


@dataclass(slots=True)
class Trouble:
    """Why a request has no result."""

    status: int
    detail: Any
    error_type: str


@dataclass(slots=True)
class Request:
    """One request; instants are monotonic."""

    id: str
    app: str  # owner/alias: addresses leave the model's path out
    base_url: str
    asked: Input | None
    seed: int
    entry: Entry
    starts: float
    ends: float
    webhook: str | None
    trouble: Trouble | None = None
    told: str = QUEUED  # the latest state that a client has heard
    result: dict[str, Any] | None = None

    @property
    def addresses(self) -> dict[str, str]:
        """The id and the addresses of result, status and cancellation."""
        url = f"{self.base_url}/{self.app}/requests/{self.id}"
        return {
            "request_id": self.id,
            "response_url": url,
            "status_url": f"{url}/status",
            "cancel_url": f"{url}/cancel",
        }

    def state(self, now: float) -> str:
        return QUEUED if now < self.starts else RUNNING if now < self.ends else COMPLETED


class Runners:
    """A fixed number of places to work at; who finds none waits in line."""

    def __init__(self, count: int) -> None:
        self._free = [0.0] * count
        self._lock = threading.Lock()

    def place(self, seconds: float) -> tuple[float, float]:
        """(start, end) of work that takes this long."""
        with self._lock:
            starts = max(time.monotonic(), heapq.heappop(self._free))
            heapq.heappush(self._free, starts + seconds)
        return starts, starts + seconds


def earlier(state: str) -> str:
    """The state before this one."""
    return STATES[max(0, STATES.index(state) - 1)]


def log_lines(request: Request, now: float) -> list[dict[str, Any]]:
    """What the runner printed so far."""
    if request.state(now) == QUEUED:
        return []
    steps = 4 if now >= request.ends else int(4 * (now - request.starts) / max(1e-9, request.ends - request.starts))
    return [{"timestamp": _stamp(now), "level": "INFO", "source": "USER", "message": f"{25 * step}% done"}
            for step in range(1, steps + 1)]  # fmt: skip


def _stamp(now: float) -> str:
    wall = time.time() - time.monotonic() + now
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall)) + "+00:00"
