"""procrastinate: `install URL`, `fill URL FILE COUNT`, `pace URL FILE COUNT`, `hold URL FILE`, `work URL FILE`."""

from __future__ import annotations

import asyncio
import sys

import procrastinate
from peer_marks import HOLD_SECONDS, is_first, mark

CONCURRENCY = 100
CHUNK = 1_000


async def main(word: str, url: str, path: str = "", count: str = "0") -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))

    @app.task(name="mark")
    async def noop(n: int) -> None:
        mark(path, n)

    @app.task(name="hold")
    async def hold() -> None:
        mark(path, 0)
        if is_first(path, 0):
            await asyncio.sleep(HOLD_SECONDS)

    async with app.open_async():
        if word == "install":
            await app.schema_manager.apply_schema_async()
        elif word == "fill":
            for start in range(0, int(count), CHUNK):
                await noop.batch_defer_async(*({"n": n} for n in range(start, min(start + CHUNK, int(count)))))
        elif word == "pace":
            for n in range(int(count)):
                await noop.defer_async(n=n)
                mark(path, n)
                await asyncio.sleep(0.05)
        elif word == "hold":
            await hold.defer_async()
        else:
            await app.run_worker_async(concurrency=CONCURRENCY)


asyncio.run(main(*sys.argv[1:]))
