"""PgQueuer: `install URL`, `fill URL FILE COUNT`, `pace URL FILE COUNT`, `hold URL FILE`, `work URL FILE`."""

from __future__ import annotations

import asyncio
import json
import sys

import asyncpg
from peer_marks import HOLD_SECONDS, is_first, mark
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

BATCH = 500
CHUNK = 1_000


async def main(word: str, url: str, path: str = "", count: str = "0") -> None:
    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    if word == "install":
        await queries.install()
    elif word == "fill":
        payloads = [json.dumps({"n": n}).encode() for n in range(int(count))]
        for start in range(0, len(payloads), CHUNK):
            part = payloads[start : start + CHUNK]
            await queries.enqueue(["mark"] * len(part), part, [0] * len(part))
    elif word == "pace":
        for n in range(int(count)):
            await queries.enqueue("mark", json.dumps({"n": n}).encode())
            mark(path, n)
            await asyncio.sleep(0.05)
    elif word == "hold":
        await queries.enqueue("hold", json.dumps({"n": 0}).encode())
    else:
        await work(connection, path)


async def work(connection: asyncpg.Connection, path: str) -> None:
    app = PgQueuer(AsyncpgDriver(connection))

    @app.entrypoint("mark")
    async def noop(job) -> None:
        mark(path, json.loads(job.payload)["n"])

    @app.entrypoint("hold")
    async def hold(job) -> None:
        mark(path, json.loads(job.payload)["n"])
        if is_first(path, 0):
            await asyncio.sleep(HOLD_SECONDS)

    await app.run(batch_size=BATCH)


asyncio.run(main(*sys.argv[1:]))
