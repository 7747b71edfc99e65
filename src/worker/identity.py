"""Who a worker is: what its fork request, the environment and the settings say about it."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

from ..broker.fleet import KnownKind, Registration
from ..broker.surroundings import Surroundings
from ..handler import handlers
from ..settings import PoolSettings


@dataclass(frozen=True, slots=True)
class Identity:
    """One worker process: its seat and its name for ever."""

    serial: int
    incarnation: str
    pool: str
    slot: int
    cores: tuple[int, ...] | None
    nice: int = 0

    @classmethod
    def from_request(cls, request: dict[str, Any]) -> Identity:
        cores = request.get("cores")
        return cls(
            serial=request["serial"],
            incarnation=request["incarnation"],
            pool=request["pool"],
            slot=request["slot"],
            cores=tuple(cores) if cores else None,
            nice=request.get("nice", 0),
        )

    @property
    def name(self) -> str:
        return f"{self.pool}/{self.slot}"


def registration(me: Identity, around: Surroundings) -> Registration:
    """This worker as the database is told of it."""
    pool = around.settings.pools[me.pool]
    return Registration(
        incarnation=me.incarnation,
        node_id=around.node_id,
        host=around.host,
        pool=me.pool,
        slot=me.slot,
        pid=os.getpid(),
        queues=list(pool.queues) or None,
        excluded_queues=[] if pool.queues else _queues_of_others(around.settings.pools, me.pool),
        lease_seconds=around.settings.jobs.lease_seconds,
        seats=pool.concurrency,
    )


@functools.cache
def known_kinds(max_attempts: int) -> list[KnownKind]:
    """Every registered kind with its numbers; `max_attempts` where it has none of its own. None may come later."""
    return [
        KnownKind(
            handler.kind,
            handler.queue,
            handler.max_attempts or max_attempts,
            handler.batch,
            handler.batch_wait_seconds,
        )
        for handler in handlers().values()
    ]


def _queues_of_others(pools: dict[str, PoolSettings], own: str) -> list[str]:
    return sorted({queue for name, pool in pools.items() if name != own for queue in pool.queues})
