"""Whether the wake-up makes producers queue up at their commit: 32 connections, with and without it, on two disks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from benchmarks.house import RunningServer, Scene, database_server
from benchmarks.measure import Figure, at_least, figure
from benchmarks.queue_parts import schema

from workerctl.broker.embedded import find_bin

CONNECTIONS = 32
SECONDS = 5
SLOWER_MICROSECONDS = 2_000
SILENT = "CREATE OR REPLACE FUNCTION workerctl.ring() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$"
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
int fdatasync(int fd) { usleep(%(us)d); return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd); }
int fsync(int fd) { usleep(%(us)d); return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd); }
"""


class NoTool(AssertionError):
    """A program that this measurement needs is not there."""


def many_producers(scene: Scene) -> Iterator[Figure]:
    """Commits a second of 32 connections that enqueue one job each, beside one that listens."""
    yield from _with_and_without(scene, "")


def many_producers_on_a_slow_disk(scene: Scene) -> Iterator[Figure]:
    """The same where each fsync takes 2 ms longer, by a shim that is loaded before the C library."""
    with _slow_server(scene) as server:
        yield from _with_and_without(Scene(scene.folder, server, scene.runs), ", fsync 2 ms slower")


def _with_and_without(scene: Scene, where: str) -> Iterator[Figure]:
    silent, ringing = [], []
    for _ in range(scene.runs):
        silent.append(_commits_per_second(scene, SILENT))
        ringing.append(_commits_per_second(scene, None))
    yield figure(f"32 connections enqueueing, no notify{where}", "commits/s", silent)
    yield figure(f"  with notify{where}", "commits/s", ringing)
    ratios = [loud / quiet for loud, quiet in zip(ringing, silent, strict=True)]
    yield figure("  against none", "x", ratios, at_least(0.85))


def _commits_per_second(scene: Scene, change: str | None) -> float:
    with schema(scene) as (url, connection), psycopg.connect(url, autocommit=True) as listener:
        if change:
            connection.execute(change.encode())
        listener.execute("LISTEN workerctl")
        connection.execute("SELECT workerctl.enqueue('bench.noop')")
        scene.server.checkpoint()
        script = scene.folder / "enqueue.sql"
        script.write_text("SELECT workerctl.enqueue('bench.noop');\n")
        words = [_program("pgbench"), "--no-vacuum", "-c", str(CONNECTIONS), "-j", "2", "-M", "prepared",
                 "-T", str(SECONDS), "-f", str(script), url]  # fmt: skip
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=SECONDS + 60)
        assert done.returncode == 0, done.stderr.strip().splitlines()[-1]
    line = next(line for line in done.stdout.splitlines() if line.startswith("tps"))
    return float(line.split()[2])


def _program(name: str) -> str:
    """Of the PostgreSQL that is measured, else of the machine."""
    beside = find_bin(None) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise NoTool(f"there is no {name}")
    return found


@contextmanager
def _slow_server(scene: Scene) -> Iterator[RunningServer]:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NoTool("no C compiler for the shim that makes fsync slower")
    folder = scene.folder / "slow"
    folder.mkdir()
    source, shim = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM % {"us": SLOWER_MICROSECONDS})
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", shim, source, "-ldl"], check=True)
    _open_to_all(scene.folder)
    with database_server(folder, LD_PRELOAD=str(shim)) as server:
        assert "shim.so" in Path(f"/proc/{server.pid}/maps").read_text(), "the server does not load the shim"
        yield server


def _open_to_all(folder: Path) -> None:
    """The server may run as another user, who must find the shim."""
    os.chmod(folder, 0o755)  # noqa: PTH101
