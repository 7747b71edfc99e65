"""The job module of the lifecycle tests: copied into each house as `kinds`, never imported by pytest."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from workerctl import Context, Fail, Retry, job

GATE_SECONDS = 60.0


class Sum(msgspec.Struct):
    a: int
    b: int = 0


def _note(payload: dict, ctx: Context, word: str) -> None:
    """One line per execution: the side effect that tests count."""
    with Path(payload["file"]).open("a") as file:
        file.write(f"{word} {ctx.job.id} {ctx.job.attempt} {os.getpid()} {time.time():.6f}\n")


@job("add")
async def add(payload: Sum, ctx: Context) -> dict:
    return {"sum": payload.a + payload.b, "user": ctx.job.user_id, "plan": ctx.job.plan}


@job("mark")
def mark(payload: dict, ctx: Context) -> None:
    time.sleep(payload.get("seconds", 0))
    _note(payload, ctx, "mark")


@job("gated")
async def gated(payload: dict, ctx: Context) -> dict:
    """Runs until the file `gate` exists."""
    _note(payload, ctx, "began")
    deadline = time.monotonic() + GATE_SECONDS
    try:
        while not Path(payload["gate"]).exists() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        _note(payload, ctx, "cancelled")
        raise
    _note(payload, ctx, "ended")
    return {"attempt": ctx.job.attempt}


@job("gated.thread")
def gated_thread(payload: dict, ctx: Context) -> dict:
    _note(payload, ctx, "began")
    deadline = time.monotonic() + GATE_SECONDS
    while not Path(payload["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    _note(payload, ctx, "ended")
    return {"attempt": ctx.job.attempt}


@job("polling")
def polling(payload: dict, ctx: Context) -> None:
    _note(payload, ctx, "began")
    while ctx.seconds_left() > 0:
        ctx.raise_if_cancelled()
        time.sleep(0.01)


@job("overlong.task", timeout_seconds=0.5, max_attempts=1)
async def overlong_task(payload: dict, ctx: Context) -> None:
    await asyncio.sleep(GATE_SECONDS)


@job("overlong.thread", timeout_seconds=0.5, max_attempts=1)
def overlong_thread(payload: dict, ctx: Context) -> None:
    _note(payload, ctx, "began")
    time.sleep(GATE_SECONDS)


@job("blocks.the.loop")
async def blocks_the_loop(payload: dict, ctx: Context) -> None:
    _note(payload, ctx, "began")
    deadline = time.monotonic() + GATE_SECONDS
    while not Path(payload["gate"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@job("suicide")
async def suicide(payload: dict, ctx: Context) -> dict:
    """Kills its worker in the first `times` attempts."""
    _note(payload, ctx, "began")
    print(f"suicide attempt {ctx.job.attempt}", flush=True)
    if ctx.job.attempt <= payload["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"attempt": ctx.job.attempt}


@job("fail", max_attempts=1)
async def fail(payload: dict, ctx: Context) -> None:
    raise RuntimeError(payload.get("words", "this job always fails"))


@job("stumble")
async def stumble(payload: dict, ctx: Context) -> dict:
    if ctx.job.attempt == 1:
        raise Retry("not the first time", after_seconds=0.05)
    return {"attempt": ctx.job.attempt}


@job("progress")
async def progress(payload: dict, ctx: Context) -> None:
    ctx.progress(3, 7)
    ctx.log("三分之一 done", level="warning", chapter=3)
    await gated(payload, ctx)


@job("talk")
async def talk(payload: dict, ctx: Context) -> None:
    print(f"out {payload['words']}", flush=True)
    print(f"err {payload['words']}", file=sys.stderr, flush=True)
    logging.getLogger("talk").info("logged %s", payload["words"])


@job("talks.much")
def talks_much(payload: dict, ctx: Context) -> None:
    for number in range(payload["lines"]):
        print(f"much {number} ", flush=True)


@job("family")
async def family(payload: dict, ctx: Context) -> dict:
    for number in range(payload["children"]):
        ctx.enqueue("child", {"number": number, **payload}, child=True)
    return {"made": payload["children"]}


@job("child", max_attempts=1)
def child(payload: dict, ctx: Context) -> dict:
    _note(payload, ctx, f"child-{payload['number']}")
    if payload["number"] == payload.get("bad") and not Path(payload["fixed"]).exists():
        raise RuntimeError("child is bad")
    return {"number": payload["number"]}


_hoard: list[bytearray] = []


@job("fatten")
def fatten(payload: dict, ctx: Context) -> None:
    _hoard.append(bytearray(os.urandom(1)) * (payload["mebibytes"] << 20))


@job("huge.result")
async def huge_result(payload: dict, ctx: Context) -> str:
    return "x" * (2 << 20)


@job("tally", batch=4, batch_wait_seconds=0.5)
def tally(payloads: list[Sum], ctx: Context) -> list:
    """Each job gets how many there were in its call; a negative one fails for itself."""
    return [Fail("negative") if payload.a < 0 else {"of": len(payloads)} for payload in payloads]


@job("yielding", hand_back=True)
async def yielding(payload: dict, ctx: Context) -> dict:
    return await gated(payload, ctx)


@job("yielding.thread", hand_back=True)
def yielding_thread(payload: dict, ctx: Context) -> dict:
    _note(payload, ctx, "began")
    while not Path(payload["gate"]).exists():
        ctx.raise_if_cancelled()
        time.sleep(0.01)
    return {"attempt": ctx.job.attempt}


@job("hangs.in.c")
def hangs_in_c(payload: dict, ctx: Context) -> None:
    """Keeps the interpreter's lock: no thread of this worker runs again."""
    _note(payload, ctx, "began")
    re.match(r"(a+)+$", "a" * 64 + "b")


_pins: list[bytearray] = []


@job("spikes")
def spikes(payload: dict, ctx: Context) -> None:
    """Takes memory in small blocks and frees it: one block on top keeps the allocator from giving it back."""
    blocks = [bytearray(os.urandom(1)) * 60_000 for _ in range(payload["mebibytes"] * 17)]
    _pins.append(bytearray(60_000))
    del blocks


@job("surroundings")
def surroundings(payload: dict, ctx: Context) -> dict:
    """What the process that runs this was given."""
    cores = sorted(os.sched_getaffinity(0))
    variables = {"fruit": os.environ.get("FRUIT"), "arenas": os.environ.get("MALLOC_ARENA_MAX")}
    return {"nice": os.nice(0), "cores": cores, **variables}


@job("whereabouts")
def whereabouts(payload: dict, ctx: Context) -> dict:
    """Which code this is, and where it runs."""
    return {"file": os.path.realpath(__file__), "folder": os.getcwd()}  # noqa: PTH109


@job("sieve", batch=4, batch_wait_seconds=0.5)
def sieve(payloads: list[dict], ctx: Context) -> list:
    """A batch call that goes on until the gate of its first job is open, or all of it is cancelled."""
    while not Path(payloads[0]["gate"]).exists():
        ctx.raise_if_cancelled()
        time.sleep(0.01)
    return [{"of": len(payloads)} for _ in payloads]


@job("burns")
def burns(payload: dict, ctx: Context) -> None:
    """Uses a processor, by a program that it starts, until the gate is open."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as program:
        while not Path(payload["gate"]).exists():
            time.sleep(0.01)
        program.kill()
