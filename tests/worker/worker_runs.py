"""Runs of handlers, begun and waited for by hand."""

from __future__ import annotations

import datetime as dt
import select
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from workerctl.broker.exchange import Claimed
from workerctl.handler import Context, Handler, Job, Services
from workerctl.worker.run import Run
from workerctl.worker.runner import Runner


@dataclass
class Point:
    x: int


def new_run(handler: Handler, *payloads: Any, timeout: float = 5) -> Run:
    created = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    jobs = [
        Claimed(
            number,
            handler.kind,
            "q",
            1,
            0,
            0,
            3,
            0,
            None,
            None,
            None,
            created,
            msgspec.Raw(msgspec.json.encode(payload)),
        )
        for number, payload in enumerate(payloads, 1)
    ]
    return Run(handler, jobs, Context(Job(1, handler.kind), cast(Services, SimpleNamespace())), timeout)


def finish(runner: Runner, count: int = 1) -> list[Run]:
    deadline = time.monotonic() + 10
    finished: list[Run] = []
    while len(finished) < count:
        assert time.monotonic() < deadline, "nothing finished"
        if select.select([runner], [], [], 0.1)[0]:
            runner.heard()
        finished += runner.take_finished()
    return finished
