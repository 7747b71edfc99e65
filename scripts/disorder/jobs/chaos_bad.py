"""Handlers that hurt their own worker; each does so in its first attempt only, so that it ends."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import sys
from typing import Any

from chaos_kinds import note

from workerctl import Context, job

MIB = 1 << 20


@job("chaos.exit")
def leave(_payload: dict[str, Any], ctx: Context) -> None:
    note("began", ctx)
    if ctx.job.attempt == 1:
        os._exit(3)
    note("ended", ctx)


@job("chaos.hang")
def hang(_payload: dict[str, Any], ctx: Context) -> None:
    """With the interpreter's lock held: nothing else in its worker runs until it is killed for hanging."""
    note("began", ctx)
    if ctx.job.attempt == 1:
        ctypes.PyDLL(None).sleep(600)
    note("ended", ctx)


@job("chaos.grandchild")
def grandchild(_payload: dict[str, Any], ctx: Context) -> None:
    note("began", ctx)
    subprocess.Popen(["sleep", "1000"])
    if ctx.job.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    note("ended", ctx)


@job("chaos.spike")
def spike(_payload: dict[str, Any], ctx: Context) -> None:
    note("began", ctx)
    with mmap.mmap(-1, 512 * MIB) as memory:
        for at in range(0, len(memory), 16 * MIB):
            memory[at : at + 16 * MIB] = b"x" * (16 * MIB)
    note("ended", ctx)


@job("chaos.long_line")
def long_line(_payload: dict[str, Any], ctx: Context) -> None:
    note("began", ctx)
    print("x" * (10 * MIB), flush=True)
    note("ended", ctx)


@job("chaos.half_line")
def half_line(_payload: dict[str, Any], ctx: Context) -> None:
    note("began", ctx)
    sys.stdout.write("half a line and no")
    sys.stdout.flush()
    if ctx.job.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    note("ended", ctx)
