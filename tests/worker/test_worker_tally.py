"""What a worker says of the attempts that ended."""

from __future__ import annotations

import datetime as dt

import msgspec

from workerctl.broker.exchange import Again, Claimed, Ended, Parent, RunStats
from workerctl.worker.tally import Tally


def job(kind: str, *, waited: float = 0.5) -> Claimed:
    created = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return Claimed(7, kind, "q", 2, 0, 0, 3, 0, None, None, None, created, msgspec.Raw(b"{}"), waited)


def test_attempts_are_counted_by_how_they_ended_and_how_long_they_took() -> None:
    tally = Tally()
    for settlement in (Ended(7, 2), Parent(7, 2, [{}]), Again(7, 2, failed=True), Ended(7, 2, "dead")):
        tally.add(job("a"), settlement, 0.00005)
    tally.add(job("b", waited=0.0), Ended(7, 2, "cancelled"), 0.25)
    assert (
        tally.stats()
        == tally.stats()
        == [
            RunStats(
                "q",
                "a",
                succeeded=2,
                failed=1,
                dead=1,
                wait_seconds=2.0,
                run_seconds=0.0002,
                waits={50: 4},
                runs={0: 4},
            ),
            RunStats("q", "b", cancelled=1, run_seconds=0.25, waits={0: 1}, runs={46: 1}),
        ]
    )
    tally.clear()
    assert not tally
    assert tally.stats() == []


def test_what_cost_no_attempt_is_not_counted() -> None:
    tally = Tally()
    tally.add(job("a"), Again(7, 2, delay_seconds=5), 0.1)
    assert not tally
