"""Peers with jobs in hand beside us: scale up, scale down, stop, a memory limit. Whole commands, theirs and ours."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from benchmarks.house import House, Scene, wait_until
from benchmarks.measure import Figure, figure
from benchmarks.processes_peers import ENVIRONMENT, NAMES, Peer, install
from benchmarks.stamps import read_stamps

from workerctl import enqueue_many

FEW, SOME, MANY = 2, 4, 8
LIMIT_MB = 120
FAT = {"mebibytes": 150, "seconds": 12}
FAT_JOBS = 2  # one after another


def jobs_in_hand(scene: Scene) -> Iterator[Figure]:
    """From the command to the last loop begun, or to the last process gone that is not wanted; and jobs cut."""
    install()
    yield from _figures("workerctl", *_ours(scene))
    for name in NAMES:
        if name == "PM2" and shutil.which("npm") is None:
            continue
        with contextlib.ExitStack() as stack:
            yield from _figures(name, *_theirs(scene, name, stack))


def too_fat(scene: Scene) -> Iterator[Figure]:
    """PM2 with max_memory_restart; what the others need a plugin for is not measured."""
    install()
    with scene.server.fresh_database() as url, scene.house(url, concurrency=1) as house:
        house.set("WORKERCTL_SUPERVISOR__MAX_MEMORY", f"{LIMIT_MB}MB")
        house.set("WORKERCTL_SUPERVISOR__MAX_MEMORY_HARD", "1GB")
        house.start(1)
        path, offset = house.folder / "stamps", house.log_size()
        with psycopg.connect(url, autocommit=True) as connection:
            enqueue_many([("bench.fatten", {"file": str(path), **FAT})] * FAT_JOBS, conn=connection)
            crossed = wait_until(lambda: read_stamps(path), 20, "the limit is crossed")[0]
            wait_until(lambda: house.worker_events("BecameReady", offset), 60, "a successor")
            yield figure("workerctl: memory limit crossed to successor", "s", [time.monotonic() - crossed.at])
            wait_until(lambda: _is_empty(connection), 60, "the job in hand")
            [attempts] = connection.execute("SELECT max(attempt) FROM workerctl.history").fetchone() or (0,)
        yield figure("  jobs cut", "", [float(attempts - 1)])
    if shutil.which("npm") is None:
        return
    peer, folder = _peer(scene, "PM2", "fat", 1, "--max-memory-restart", f"{LIMIT_MB}M")
    try:
        peer.start()
        (folder / "fat").touch()
        began = wait_until(lambda: peer.noted("began"), 20, "the limit is crossed")
        wait_until(lambda: len(peer.noted("loop")) > 1, 90, "PM2's successor")
        at = max(peer.noted("loop").values()) - min(began.values())
        yield figure("PM2: memory limit crossed to successor", "s", [at])
        yield figure("  jobs cut", "", [float(peer.count("began") - peer.count("ended"))])
    finally:
        peer.end()


STEPS = (jobs_in_hand, too_fat)


def _figures(name: str, up: float, down: float, cut: int, stop: float, cut_by_stop: int) -> Iterator[Figure]:
    yield figure(f"{name}: scale {SOME} -> {MANY}", "ms", [up * 1000])
    yield figure(f"{name}: scale {MANY} -> {FEW}, jobs of 1 s in hand", "s", [down])
    yield figure("  jobs cut", "", [float(cut)])
    yield figure(f"{name}: stop, {SOME} jobs of 1 s in hand", "s", [stop])
    yield figure("  jobs cut", "", [float(cut_by_stop)])


def _ours(scene: Scene) -> tuple[float, float, int, float, int]:
    with scene.server.fresh_database() as url, scene.house(url, concurrency=1) as house:
        house.start(SOME)
        up = house.command("scale", str(MANY), "--wait")
        with psycopg.connect(url, autocommit=True) as connection:
            _hold(house, connection, MANY)
            down = house.command("scale", str(FEW), "--wait")
            left = _left(connection)
            house.command("scale", str(SOME), "--wait")
            wait_until(lambda: _is_empty(connection), 30, "the jobs")
            _hold(house, connection, SOME)
            stop = house.command("stop")
            return up, down, left, stop, _left(connection)


def _hold(house: House, connection: psycopg.Connection, count: int) -> None:
    path = house.folder / f"stamps-{time.monotonic_ns()}"
    enqueue_many([("bench.hold", {"file": str(path), "seconds": 1})] * count, conn=connection)
    wait_until(lambda: len(read_stamps(path)) == count, 20, "jobs in hand", every_seconds=0.005)


def _left(connection: psycopg.Connection) -> int:
    [count] = connection.execute("SELECT count(*) FROM workerctl.live").fetchone() or (0,)
    return int(count)


def _is_empty(connection: psycopg.Connection) -> bool:
    return _left(connection) == 0


def _theirs(scene: Scene, name: str, stack: contextlib.ExitStack) -> tuple[float, float, int, float, int]:
    peer, folder = _peer(scene, name, "scale", SOME)
    stack.callback(peer.end)
    peer.start()
    since = time.monotonic()
    _scale(peer, folder, name, MANY)
    fresh = MANY if name == "supervisord" else MANY - SOME  # it restarts them all
    wait_until(lambda: len(peer.noted("loop")) >= SOME + fresh, 60, f"{name}'s new workers", every_seconds=0.005)
    up = max(peer.noted("loop").values()) - since
    wait_until(lambda: len(peer.workers()) == MANY, 30, f"{name}'s old workers are gone")
    _begin_jobs(peer, folder, name, MANY)
    down = _timed(lambda: _scale(peer, folder, name, FEW), lambda: len(peer.workers()) <= FEW)
    wait_until(lambda: len(peer.workers()) == FEW, 30, f"{name} has {FEW} workers")
    cut = peer.count("began") - peer.count("ended")

    other, place = _peer(scene, name, "stop", SOME)
    stack.callback(other.end)
    other.start()
    _begin_jobs(other, place, name, SOME)
    stop = _timed(lambda: _stop(other, name), lambda: not other.workers())
    return up, down, cut, stop, other.count("began") - other.count("ended")


def _peer(scene: Scene, name: str, what: str, instances: int, *options: str) -> tuple[Peer, Path]:
    folder = scene.folder / f"peer-{name}-{what}"
    folder.mkdir()
    return Peer(name, folder, instances, *options), folder


def _timed(command: Callable[[], None], reached: Callable[[], bool]) -> float:
    since = time.monotonic()
    command()
    wait_until(reached, 60, "the last process leaves", every_seconds=0.005)
    return time.monotonic() - since


def _begin_jobs(peer: Peer, folder: Path, name: str, count: int) -> None:
    if name == "gunicorn":
        for _ in range(count):
            threading.Thread(target=_request, args=(folder / "socket",), daemon=True).start()
    else:
        (folder / "go").touch()
    wait_until(lambda: peer.count("began") >= count, 20, f"{name}'s jobs in hand", every_seconds=0.005)


def _request(path: Path) -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        while client.recv(4096):
            pass


def _scale(peer: Peer, folder: Path, name: str, count: int) -> None:
    programs = ENVIRONMENT / "bin"
    match name:
        case "gunicorn":
            peer.turn_to(count)
        case "supervisord":
            peer.configure(count)
            for word in ("reread", "update"):
                peer.ask(str(programs / "supervisorctl"), "-c", str(folder / "supervisord.conf"), word)
        case "circus":
            endpoint = ("--endpoint", f"ipc://{folder}/e")
            peer.ask(str(programs / "circusctl"), *endpoint, "set", "w", "numprocesses", str(count))
        case _:
            peer.ask(*peer.pm2, "scale", "w", str(count))


def _stop(peer: Peer, name: str) -> None:
    if name == "PM2":
        peer.ask(*peer.pm2, "stop", "w")
    else:
        peer.main().terminate()
