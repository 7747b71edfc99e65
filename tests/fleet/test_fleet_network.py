"""A cut network is noticed by connections in seconds, instead of the minutes that TCP would take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from fleet_net import URL, Fleet, a_fleet, until, why_not

from workerctl.broker.connection import connect

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


@pytest.fixture
def network() -> Iterator[Fleet]:
    with a_fleet(started=False) as made:
        yield made


def seconds_until_lost(connection: psycopg.Connection[object], words: str) -> float:
    since = time.monotonic()
    with pytest.raises(psycopg.OperationalError):
        connection.execute(words.encode())
    return time.monotonic() - since


def test_a_cut_is_noticed_by_who_speaks_and_by_who_waits_for_an_answer(network: Fleet) -> None:
    found: dict[str, float] = {}
    with connect(URL, application="test") as speaks, connect(URL, application="test") as waits:
        asking = threading.Thread(target=lambda: found.update(waits=seconds_until_lost(waits, "SELECT pg_sleep(60)")))
        asking.start()
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        until(lambda: speaks.execute(sleeping).fetchone(), 5, "the statement has begun")
        network.database.unplug()
        found["speaks"] = seconds_until_lost(speaks, "SELECT 1")
        asking.join()
    print(f"a cut network is noticed after {found}")
    assert all(3.0 < seconds < 7.0 for seconds in found.values())
