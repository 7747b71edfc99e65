"""The handlers that are measured."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from workerctl import Context, job


@job("bench.noop")
async def noop(payload: dict[str, Any]) -> None:
    """What is left is the queue's own cost."""


@job("bench.nap")
async def nap(payload: dict[str, Any]) -> None:
    """Keeps its seat for a while."""
    await asyncio.sleep(payload["seconds"])


@job("bench.naps", batch=10)
async def naps(payloads: list[dict[str, Any]]) -> None:
    """Many jobs in one call, which takes as long as one."""
    await asyncio.sleep(payloads[0]["seconds"])


@job("bench.mark")
async def mark(payload: dict[str, Any], ctx: Context) -> None:
    """What the peers' handlers do too (peers/peer_marks.py)."""
    descriptor = os.open(payload["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{payload['n']} {os.getpid()} {time.clock_gettime(time.CLOCK_MONOTONIC):.6f}\n".encode())
    os.close(descriptor)
    if payload.get("hold") and ctx.job.attempt == 1:
        await asyncio.sleep(300)


@job("bench.stamp")
async def stamp(payload: dict[str, Any], ctx: Context) -> None:
    """Say when this attempt began, by a clock that all processes of a machine share."""
    write_stamp(payload["file"], ctx)


@job("bench.hold")
async def hold(payload: dict[str, Any], ctx: Context) -> None:
    """The first attempt stays for `seconds`, later ones only say that they began."""
    write_stamp(payload["file"], ctx)
    if ctx.job.attempt == 1:
        await asyncio.sleep(payload["seconds"])


@job("bench.fatten")
def fatten(payload: dict[str, Any], ctx: Context) -> None:
    """Grow past a limit, say so, and go on working for `seconds`."""
    hoard = [bytearray(b"x") * (1 << 20) for _ in range(payload["mebibytes"])]
    write_stamp(payload["file"], ctx)
    time.sleep(payload["seconds"])
    hoard.clear()


def write_stamp(path: str, ctx: Context) -> None:
    """Append `job id, attempt, pid, monotonic seconds`."""
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{ctx.job.id} {ctx.job.attempt} {os.getpid()} {now:.6f}\n".encode())
    os.close(descriptor)
