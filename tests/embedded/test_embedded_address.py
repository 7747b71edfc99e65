"""Where the server listens: a unix socket, or 127.0.0.1 where the socket's path does not fit."""

import socket

import pytest

from workerctl.broker.embedded import plan_server


def test_a_path_too_long_for_a_socket_falls_back_to_tcp(short_home, start_embedded):
    home = short_home / ("long" * 25)
    running = start_embedded(home)
    assert "@127.0.0.1:" in running.server.url
    with running.connect() as connection:
        assert connection.execute("SELECT host(inet_server_addr())").fetchone() == ("127.0.0.1",)
    assert not list((home / "run").glob(".s.PGSQL*"))


@pytest.mark.parametrize(
    ("name", "by_socket"),
    [('it\'s "a" home 三国 100%', True), ("a,b", False), ("back\\slash", True)],
)
def test_a_home_may_have_any_name(short_home, start_embedded, name, by_socket):
    running = start_embedded(short_home / name)
    with running.connect() as connection:
        address = connection.execute("SELECT inet_server_addr()").fetchone()
    assert (address == (None,)) is by_socket


def test_the_port_is_kept_across_starts_and_while_the_server_runs(short_home, start_embedded):
    home = short_home / ("long" * 25)
    running = start_embedded(home)
    assert plan_server(home).url == running.server.url
    running.stop()
    assert plan_server(home).url == running.server.url


def test_a_port_that_someone_else_took_is_changed_at_the_next_start(short_home, start_embedded):
    home = short_home / ("long" * 25)
    running = start_embedded(home)
    running.stop()
    port = int((home / "postgres" / "port").read_text())
    with socket.create_server(("127.0.0.1", port)):
        moved = start_embedded(home)
        assert moved.server.url != running.server.url
        moved.connect().close()
