"""Growth is shared among the kinds that were in hand; what is freed late goes back to them."""

from __future__ import annotations

from workerctl.worker.growth import Growth


def told(growth: Growth) -> dict[str, tuple[int, int]]:
    return {each["kind"]: (each["jobs"], each["bytes"]) for each in growth.told()}


def test_a_leak_shows_beside_a_kind_that_gives_back() -> None:
    growth = Growth(1000)
    for round_number in range(10):
        growth.look({"leaks": 1}, [], 1000 + 100 * (round_number + 1))
    growth.look({"spikes": 1}, ["spikes"], 12_000)
    growth.look({}, [], 2_000)
    assert told(growth) == {"leaks": (10, 1000), "spikes": (1, 0)}


def test_kinds_that_run_together_share() -> None:
    growth = Growth(0)
    growth.look({"a": 2}, ["a", "b"], 100)
    assert told(growth) == {"a": (2, 50), "b": (0, 50)}


def test_before_the_first_job_nobody_grew() -> None:
    growth = Growth(0)
    growth.look({}, [], 5_000)
    growth.look({"a": 1}, [], 5_100)
    assert told(growth) == {"a": (1, 100)}


def test_the_real_size_is_read_and_few_kinds_are_told() -> None:
    growth = Growth()
    growth.look({f"kind-{number}": 1 for number in range(100)}, [])
    assert len(growth.told()) == 20
