"""`auto` fits into connection_limit and says so; a number of one's own is refused with the sum."""

from __future__ import annotations

import pytest

from workerctl.cli.compose import check_connections, fit_connections
from workerctl.contract import Unusable
from workerctl.supervisor.composition import Composition, Group, Node, Policy


def composed(**instances: int) -> Composition:
    groups = tuple(Group(name, "pool", template="t", instances=count) for name, count in instances.items())
    policy = Policy(connection_limit=11, connections_per_worker=2, connections_fixed=3)
    return Composition(home="/h", node=Node("n", "h", 8, 0), groups=groups, version="1", release="r", policy=policy)


def counts(composition: Composition) -> dict[str, int]:
    return {group.name: group.instances for group in composition.groups}


def test_auto_shrinks_to_what_fits_and_says_so() -> None:
    fitted, note = fit_connections(composed(default=8), {}, frozenset({"default"}))
    assert counts(fitted) == {"default": 3}
    assert note == "auto: 3 workers instead of 8: connection_limit 11 has no room for more"
    check_connections(fitted, {})


def test_what_fits_stays_and_nothing_is_said() -> None:
    fitted, note = fit_connections(composed(default=2), {}, frozenset({"default"}))
    assert (counts(fitted), note) == ({"default": 2}, None)


def test_only_pools_that_are_auto_shrink_and_each_keeps_a_worker() -> None:
    fitted, _ = fit_connections(composed(default=6, content=1, fixed=1), {}, frozenset({"default", "content"}))
    assert counts(fitted) == {"default": 1, "content": 1, "fixed": 1}


def test_a_number_of_ones_own_is_refused_with_the_sum() -> None:
    fitted, note = fit_connections(composed(default=8), {"default": 8}, frozenset())
    assert note is None
    with pytest.raises(Unusable, match=r"8 workers need 21 database connections .* connection_limit is 11"):
        check_connections(fitted, {"default": 8})


def test_the_pools_of_a_machine_are_replaced_out_of_one_budget_and_counted_so() -> None:
    assert Policy(connections_per_worker=2, connections_fixed=3).connections(30) == (30 + 6) * 2 + 3
    three = composed(a=10, b=10, c=10)
    with pytest.raises(Unusable, match=r"30 workers need 75 database connections \(\(30 workers \+ 6 while"):
        check_connections(three, {})
