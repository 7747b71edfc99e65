"""The handlers that are disturbed: each execution says outside the queue that it began, and that it got to its end."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import psycopg

from workerctl import Context, Retry, Snooze, job
from workerctl.contract import WorkerctlError
from workerctl.handler import ClaimLost

_records: dict[int, int] = {}  # descriptor of this process's own file, by pid: a forked worker must not use another's


def note(word: str, ctx: Context) -> None:
    """Append `word, job id, attempt, pid, CLOCK_MONOTONIC` to this process's own file, in one write."""
    pid = os.getpid()
    if pid not in _records:
        folder = Path(os.environ["CHAOS_RECORDS"])
        _records[pid] = os.open(folder / f"{pid}-{time.monotonic_ns()}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    line = f"{word} {ctx.job.id} {ctx.job.attempt} {pid} {time.clock_gettime(time.CLOCK_MONOTONIC):.6f}\n"
    os.write(_records[pid], line.encode())


async def _work(payload: dict[str, Any], ctx: Context) -> None:
    note("began", ctx)
    await asyncio.sleep(payload.get("seconds", 0))
    note("ended", ctx)


@job("quick")
async def quick(payload: dict[str, Any], ctx: Context) -> None:
    await _work(payload, ctx)


@job("thread")
def thread(payload: dict[str, Any], ctx: Context) -> None:
    note("began", ctx)
    time.sleep(payload["seconds"])
    note("ended", ctx)


@job("stumble")
async def stumble(payload: dict[str, Any], ctx: Context) -> None:
    """Fails once, tried again at once or a little later."""
    note("began", ctx)
    if ctx.job.failures == 0:
        raise Retry("not the first time", after_seconds=payload["seconds"])
    note("ended", ctx)


@job("snooze")
async def snooze(payload: dict[str, Any], ctx: Context) -> None:
    note("began", ctx)
    if ctx.job.attempt == 1:
        raise Snooze(payload["seconds"])
    note("ended", ctx)


@job("follow")
async def follow(payload: dict[str, Any], ctx: Context) -> None:
    """Its follow-up must come to be exactly once, however often this runs."""
    await _work(payload, ctx)
    ctx.enqueue("echo", {"of": ctx.job.id})


@job("batch")
async def batch(payload: dict[str, Any], ctx: Context) -> None:
    note("began", ctx)
    for number in range(payload["children"]):
        ctx.enqueue("child", {"number": number, "seconds": 0.1}, child=True)
    ctx.on_done("after")
    note("ended", ctx)


@job("limited")
async def limited(payload: dict[str, Any], ctx: Context) -> None:
    """Under a limit of its kind."""
    await _work(payload, ctx)


@job("owned")
async def owned(payload: dict[str, Any], ctx: Context) -> None:
    """Under a limit of its user."""
    await _work(payload, ctx)


@job("child")
async def child(payload: dict[str, Any], ctx: Context) -> None:
    await _work(payload, ctx)


@job("after")
async def after(payload: dict[str, Any], ctx: Context) -> None:
    await _work(payload, ctx)


@job("echo")
async def echo(payload: dict[str, Any], ctx: Context) -> None:
    await _work(payload, ctx)


@job("store")
async def store(payload: dict[str, Any], ctx: Context) -> dict[str, str]:
    """Writes outside its settlement: an object named after the attempt, one after the job alone, and a memory."""
    note("began", ctx)
    await asyncio.sleep(payload.get("seconds", 0))
    key = f"by-attempt/{ctx.job.id}-{ctx.job.attempt}"
    await asyncio.to_thread(_keep, key, ctx)
    note("ended", ctx)
    return {"key": key}


def _keep(key: str, ctx: Context) -> None:
    text = f"{ctx.job.id} {ctx.job.attempt}".encode()
    ctx.storage.put(key, text)
    ctx.storage.put(f"in-place/{ctx.job.id}", text)
    try:
        ctx.remember("kept by", ctx.job.attempt)
    except ClaimLost:
        note("refused", ctx)
        raise
    except (psycopg.Error, WorkerctlError):
        raise Snooze(0.2, "the database is away") from None


@job("tick")
async def tick(payload: dict[str, Any], ctx: Context) -> None:
    await _work(payload, ctx)
