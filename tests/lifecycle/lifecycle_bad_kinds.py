"""Handlers that misbehave as real ones do: copied into a house as `bad`, never imported by pytest."""

from __future__ import annotations

import atexit
import ctypes
import io
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from workerctl import Context, job

MIB = 1 << 20
PATIENCE_SECONDS = 60.0
_hoard: list[bytearray] = []

signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # what libraries do that start processes; no template may die of it
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])


def _note(payload: dict, ctx: Context, word: str) -> None:
    with Path(payload["file"]).open("a") as file:
        file.write(f"{word} {ctx.job.id} {ctx.job.attempt} {os.getpid()} {time.time():.6f}\n")


def _hold(gate: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@job("bad.grandchild")
def grandchild(payload: dict, ctx: Context) -> None:
    """Leaves a process behind that holds stdout and stderr, and one more in a session of its own."""
    subprocess.Popen(["sleep", "1000"])
    subprocess.Popen(["sh", "-c", "set -m; sleep 1000 & exec sleep 1000"])
    _note(payload, ctx, "forked")


@job("bad.hang")
def hang_in_c(payload: dict, ctx: Context) -> None:
    """In the first attempt: sleeps in C with the interpreter's lock held, so that no other thread runs."""
    _note(payload, ctx, "began")
    if ctx.job.attempt == 1:
        ctypes.PyDLL(None).sleep(600)


@job("bad.deaf")
def deaf(payload: dict, ctx: Context) -> None:
    """SIGTERM is taken away from its worker, behind Python's back; in the first attempt it goes on for ever."""
    ctypes.CDLL(None).signal(signal.SIGTERM, ctypes.c_void_p(1))  # SIG_IGN
    _note(payload, ctx, "began")
    if ctx.job.attempt == 1:
        time.sleep(PATIENCE_SECONDS)


@job("bad.words")
def unstorable_words(payload: dict, ctx: Context) -> None:
    """Says what neither JSON nor PostgreSQL has."""
    ctx.log("NUL \x00", thing=object(), name="\udcff")
    raise ValueError("no such file: \udcff\x00")


@job("bad.atexit")
def at_exit(payload: dict, ctx: Context) -> None:
    """Would end the interpreter with 7, or hold its end up for ever."""
    atexit.register(time.sleep, 600)
    atexit.register(os._exit, 7)
    _note(payload, ctx, "registered")


@job("bad.exit", max_attempts=1)
def exits(payload: dict, ctx: Context) -> None:
    sys.exit(7)


@job("bad.streams", max_attempts=1)
def streams(payload: dict, ctx: Context) -> None:
    if payload["how"] == "replace":
        sys.stdout = sys.stderr = io.StringIO()
    else:
        print("to be heard")
    sys.stdout.close()
    sys.stderr.close()
    raise ValueError("no streams")


@job("bad.spike")
def spike(payload: dict, ctx: Context) -> None:
    """Touches every page of so much memory, and gives it back at once."""
    _note(payload, ctx, "spiking")
    with mmap.mmap(-1, payload["mebibytes"] * MIB) as memory:
        block = b"x" * (16 * MIB)
        for at in range(0, len(memory), len(block)):
            memory[at : at + len(block)] = block
    _note(payload, ctx, "spiked")


@job("bad.leak")
def leak(payload: dict, ctx: Context) -> None:
    """Grows by 1 MB at each step, and ends once the gate is open."""
    _note(payload, ctx, "began")
    for _ in range(payload["mebibytes"]):
        _hoard.append(bytearray(b"x") * MIB)
        time.sleep(payload["pause"])
    _hold(payload["gate"])
    _note(payload, ctx, "ended")


@job("bad.print")
def print_much(payload: dict, ctx: Context) -> None:
    """One line of so many bytes, then half a line, and death in the first attempt."""
    print("x" * payload["bytes"] + " end", flush=True)
    print("after the long line", flush=True)
    sys.stdout.write("half a line and no")
    sys.stdout.flush()
    if ctx.job.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    print("w it is whole", flush=True)


@job("bad.descriptors")
def eat_descriptors(payload: dict, ctx: Context) -> None:
    """Opens files until there is no descriptor left, and keeps them until its process ends."""
    _note(payload, ctx, "began")
    try:
        while True:
            os.open("/dev/null", os.O_RDONLY)
    except OSError:
        _hold(payload["gate"])
