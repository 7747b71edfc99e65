"""Pure: a circuit breaker. A provider that fails again and again is left alone, then asked by one call at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

FAILURES = 5  # in a row
OPEN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """What a process has seen of one provider. Times are monotonic."""

    failures: int = 0  # in a row
    open_until: float | None = None  # None: closed
    probing: bool = False  # one call is out to see whether it is well again

    def wait_seconds(self, now: float) -> float:
        """0 where a call may go out, else how long to leave the provider alone."""
        if self.open_until is None:
            return 0.0
        if now < self.open_until:
            return self.open_until - now
        return OPEN_SECONDS / 2 if self.probing else 0.0

    def called(self, now: float) -> Breaker:
        """A call goes out; after a rest it is the probe."""
        return replace(self, probing=True) if self.open_until is not None and now >= self.open_until else self

    def answered(self) -> Breaker:
        """The provider is there, whatever it said."""
        return Breaker()

    def failed(self, now: float) -> Breaker:
        """No answer, or one that says that the provider itself is broken."""
        failures = self.failures + 1
        if self.probing or failures >= FAILURES:
            return Breaker(failures, open_until=now + OPEN_SECONDS)
        return replace(self, failures=failures)

    def left(self) -> Breaker:
        """A call that went out was given up by us: it says nothing about the provider."""
        return replace(self, probing=False)
