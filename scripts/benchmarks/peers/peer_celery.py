"""Celery on Redis: `install URL`, `fill URL FILE COUNT`, `pace URL FILE COUNT`, `hold URL FILE`, `work URL FILE`."""

from __future__ import annotations

import sys
import time

from celery import Celery
from peer_marks import HOLD_SECONDS, is_first, mark

word, url, path, count = (*sys.argv[1:], "", "0")[:4]
app = Celery("peer", broker=url)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=64, worker_hijack_root_logger=False)


@app.task(name="mark")
def noop(n: int) -> None:
    mark(path, n)


@app.task(name="hold")
def hold() -> None:
    mark(path, 0)
    if is_first(path, 0):
        time.sleep(HOLD_SECONDS)


if word == "fill":
    for n in range(int(count)):
        noop.delay(n)
elif word == "pace":
    for n in range(int(count)):
        noop.delay(n)
        mark(path, n)
        time.sleep(0.05)
elif word == "hold":
    hold.delay()
elif word == "work":
    app.worker_main(["worker", "-c", "2", "--without-gossip", "--without-mingle", "-l", "ERROR"])
