"""What systemd and PM2 are told, and hear, over sockets of the test's own."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import time
from pathlib import Path

from toy_house import House, until


def test_systemd_is_told_once_it_serves(house: House) -> None:
    path = str(house.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(10)
        house.start(*house.workers(1), environment={"NOTIFY_SOCKET": path})
        heard = [systemd.recv(1000)]
        while heard[-1] != b"STATUS=running: 1/1 workers ready":
            heard.append(systemd.recv(1000))
        assert heard.count(b"READY=1") == 1
        assert b"EXTEND_TIMEOUT_USEC=10000000" in heard[: heard.index(b"READY=1")]
        environment = Path(f"/proc/{house.until_ready(1)[0]}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in environment
        house.behave("drain=1.5")
        (old,) = house.pids()
        os.kill(old, signal.SIGKILL)
        until(lambda: (pids := house.pids()) and pids != [old])
        house.stop()
        rest = _everything(systemd)
        assert b"STOPPING=1" in rest
        assert b"EXTEND_TIMEOUT_USEC=10000000" in rest[rest.index(b"STOPPING=1") :]


def _everything(end: socket.socket) -> list[bytes]:
    end.setblocking(False)
    heard = []
    while True:
        try:
            heard.append(end.recv(1000))
        except BlockingIOError:
            return heard


def test_systemd_is_told_of_a_reload_and_of_its_end(house: House) -> None:
    path = str(house.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        policy = {"probation_seconds": 0.2}
        house.start(*house.workers(1), environment={"NOTIFY_SOCKET": path}, policy=policy)
        house.until_state("running")
        before = time.monotonic()
        _everything(systemd)
        house.until_reloaded(house.reload(*house.workers(1)))
        heard = _everything(systemd)
        (reloading,) = [message for message in heard if message.startswith(b"RELOADING=1\nMONOTONIC_USEC=")]
        assert before < int(reloading.rpartition(b"=")[2]) / 1e6 < time.monotonic()
        assert heard.index(b"READY=1") > heard.index(reloading)
        house.stop()


def test_the_watchdog_is_fed_twice_in_its_time(house: House) -> None:
    path = str(house.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(10)
        house.start(*house.workers(1), environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"})
        fed: list[float] = []
        while len(fed) < 6:
            if systemd.recv(1000) == b"WATCHDOG=1":
                fed.append(time.monotonic())
        assert max(later - sooner for sooner, later in itertools.pairwise(fed[1:])) < 0.4
        house.stop()


def test_systemd_is_told_over_an_abstract_socket_too(house: House) -> None:
    name = f"workerctl-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + name)
        systemd.settimeout(10)
        house.start(*house.workers(1), environment={"NOTIFY_SOCKET": "@" + name})
        assert systemd.recv(1000).startswith(b"STATUS=starting")


def test_pm2_is_told_on_its_channel_and_may_ask_for_the_end_there(house: House) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        environment = {"NODE_CHANNEL_FD": str(theirs.fileno())}
        house.start(*house.workers(1), environment=environment, inherit=(theirs.fileno(),))
        heard = b""
        while b'"ready"\n' not in heard or b'"workers": {"value": "1/1"}' not in heard:
            heard += ours.recv(4096)
        ours.sendall(b'"shut')
        ours.sendall(b'down"\n')
        assert house.until_ended() == 0
    assert not house.left_over()


def test_a_pm2_that_is_gone_ends_nothing(house: House) -> None:
    ours, theirs = socket.socketpair()
    environment = {"NODE_CHANNEL_FD": str(theirs.fileno())}
    house.start(*house.workers(1), environment=environment, inherit=(theirs.fileno(),))
    theirs.close()
    house.until_ready(1)
    ours.close()
    house.ask("scale", pool="default", to=2)
    house.until_ready(2)
    assert house.stop() == 0
