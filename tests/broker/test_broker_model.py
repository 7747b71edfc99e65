"""The queue against its model (broker_model.py): whatever is said in whatever order, every row is as it should be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from broker_machine import QueueMachine
from broker_watch import connections
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from workerctl.broker.migrate import migrate

QUICK = settings(
    max_examples=30, stateful_step_count=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
DEEP = settings(QUICK, max_examples=1500, stateful_step_count=80, derandomize=False, print_blob=True)


@pytest.fixture
def machine(database_url: str) -> Iterator[type[QueueMachine]]:
    QueueMachine.connections = connections(database_url)
    with QueueMachine.connections[0] as one, QueueMachine.connections[1]:
        migrate(one)
        yield QueueMachine


def test_whatever_is_said_every_row_is_as_the_model_has_it(machine: type[QueueMachine]) -> None:
    run_state_machine_as_test(machine, settings=QUICK)  # type: ignore[no-untyped-call]


@pytest.mark.long
def test_the_same_for_many_minutes_from_another_seed_each_time(machine: type[QueueMachine]) -> None:
    run_state_machine_as_test(machine, settings=DEEP)  # type: ignore[no-untyped-call]
