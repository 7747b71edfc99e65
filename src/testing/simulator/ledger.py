"""What the provider would put on the bill: one entry for every request for work, and what became of it."""

from __future__ import annotations

import copy
import threading
import time
from typing import Any, Literal

import msgspec

from .faults import Fault

# working: its answer has not been given yet · delivered: an answer left whole · undelivered: the work was done, but
# its answer was lost, by a fault or because the client was gone · failed: no work was done (429, 500) ·
# refused: content policy · cancelled: by the client, before the work began
Outcome = Literal["working", "delivered", "undelivered", "failed", "refused", "cancelled"]


class Entry(msgspec.Struct):
    """One request for work. A repeat with the same idempotency key is no new entry, but one more in `repeats`."""

    number: int
    operation: Literal["images", "chat", "submit"]
    request_id: str
    model: str
    prompt: str
    user: str | None
    idempotency_key: str | None
    images: int
    cost_usd: float
    began_seconds: float  # since the simulator's start
    paid: bool = True
    outcome: Outcome = "working"
    seed: int | None = None  # where the client gave one
    faults: list[str] = []  # of this call, its repeats, and later calls about it
    client_gone: bool = False
    repeats: int = 0
    deliveries: int = 0
    ended_seconds: float | None = None
    created: int = msgspec.field(default_factory=lambda: int(time.time()))  # epoch seconds; every answer says the same


class Ledger:
    """Entries in the order of their arrival. Safe to use from several threads; what it hands out are copies."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._in_hand = 0
        self._peak = 0

    def open(self, **fields: Any) -> Entry:
        """A new entry, whose work begins now."""
        with self._lock:
            entry = Entry(number=len(self._entries) + 1, began_seconds=self._now(), **fields)
            self._entries.append(entry)
            self._in_hand += 1
            self._peak = max(self._peak, self._in_hand)
            return entry

    def work_ended(self, entry: Entry) -> None:
        """The work of this entry takes no place any more; whether its answer arrives is another question."""
        with self._lock:
            if entry.ended_seconds is None:
                entry.ended_seconds = self._now()
                self._in_hand -= 1

    def note(self, entry: Entry, fault: Fault | None) -> None:
        """A call for this work, or about it, goes wrong in this way."""
        if fault is not None:
            with self._lock:
                entry.faults.append(fault.kind.value)

    def unpaid(self, entry: Entry, outcome: Outcome) -> None:
        with self._lock:
            entry.paid, entry.outcome = False, outcome
        self.work_ended(entry)

    def delivered(self, entry: Entry) -> None:
        with self._lock:
            entry.deliveries += 1
            entry.outcome = "delivered"

    def undelivered(self, entry: Entry, *, client_gone: bool) -> None:
        """An answer was lost; one that arrived before or arrives later still counts."""
        with self._lock:
            entry.client_gone = entry.client_gone or client_gone
            if not entry.deliveries:
                entry.outcome = "undelivered"

    def repeated(self, entry: Entry) -> None:
        with self._lock:
            entry.repeats += 1

    @property
    def entries(self) -> list[Entry]:
        with self._lock:
            return copy.deepcopy(self._entries)

    @property
    def peak(self) -> int:
        """The most requests that were in hand at once."""
        return self._peak

    def summary(self) -> dict[str, Any]:
        """The ledger as JSON: the entries and their sums."""
        entries = self.entries
        paid = [entry for entry in entries if entry.paid]
        return {
            "entries": msgspec.to_builtins(entries),
            "requests": len(entries),
            "paid_requests": len(paid),
            "paid_images": sum(entry.images for entry in paid),
            "cost_usd": round(sum(entry.cost_usd for entry in paid), 6),
            "peak_in_hand": self._peak,
        }

    def _now(self) -> float:
        return round(time.monotonic() - self._began, 4)
