"""Who has heartbeats to send is never kept by a connection: not by dead addresses, and not by a resolver."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from workerctl.broker.connection import connect
from workerctl.broker.dial import takes_long
from workerctl.contract import Unreachable


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never says a word, as a machine that hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


@pytest.fixture
def behind(database_url: str) -> Callable[[int], str]:
    """The database's URL with a silent address before its own."""
    parts = urlsplit(database_url)
    server = parse_qs(parts.query)
    host, port = server["host"][0], server["port"][0]
    login = f"{parts.username}:{parts.password}"
    return lambda silent: f"postgresql://{login}@/{parts.path[1:]}?host=127.0.0.1,{host}&port={silent},{port}"


def test_a_dial_past_dead_addresses_goes_on_and_whoever_asks_again_has_the_connection(
    behind: Callable[[int], str], silent_port: int
) -> None:
    url = behind(silent_port)
    with pytest.raises(Unreachable, match=r"does not answer: no connection within 0\.1 s"):
        connect(url, application="test", within_seconds=0.1)
    deadline = time.monotonic() + 20
    while True:
        try:
            connection = connect(url, application="test", within_seconds=0.1)
            break
        except Unreachable:
            assert time.monotonic() < deadline
    with connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with connect(url, application="test", within_seconds=20) as another:
        assert another is not connection, "it is given away once"


def test_what_a_dial_is_told_is_told_to_its_caller(database_url: str) -> None:
    login, _, place = database_url.partition("@")
    host = parse_qs(urlsplit(database_url).query)["host"][0]
    wrong = f"{login.rpartition(':')[0]}:falsch@{place}".replace(host, f"{host},{host}")
    with pytest.raises(Unreachable, match="refuses: password authentication failed"):
        connect(wrong, application="test", within_seconds=20)
    name = f"{login}@/db?host=there.is.no.such.host.invalid"
    with pytest.raises(Unreachable, match="failed to resolve host"):
        connect(name, application="test", within_seconds=60)


@pytest.mark.parametrize(
    ("host", "long"),
    [("/run/pg", False), ("10.0.0.1", False), ("fe80::1", False), ("::ffff:10.0.0.1", False),
     ("localhost", True), ("10.0.0.1,10.0.0.2", True), ("/a,/b", True), ("db.eu", True), ("fade", True), (None, True)],
)  # fmt: skip
def test_one_address_has_a_limit_of_its_own_and_needs_no_thread(host: str | None, *, long: bool) -> None:
    assert takes_long(host) is long
