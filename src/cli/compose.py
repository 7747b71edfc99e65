"""Pure: what one supervisor is to run, from the settings. Everything it runs is a group of slots."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..broker.embedded import STOP_SIGNAL, Server
from ..contract import ENV_HOME, ENV_NODE, ENV_SETTINGS, Unusable
from ..settings import PoolSettings, Settings
from ..settings.cores import resolve_instances, resolve_reserved_cores
from ..supervisor.composition import Composition, Group, Node, Policy, Ready

AGENT_CONNECTIONS = 2  # one that listens, one that asks
COMMAND_CONNECTIONS = 1  # a command of the user's beside the running workers
WORKER_CONNECTIONS = 2  # its own, and the one that ctx.database() opens at most
EMBEDDED_CONNECTIONS = 180  # of the 200 that our own server allows, see broker/_embedded_folder.py
MIGRATION_SECONDS = 60.0  # for the migrations themselves, once the database has answered
POSTGRES_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What `compose` is made from, found out by the caller."""

    settings: Settings  # with the database's URL filled in
    home: Path
    project: Path  # the folder that everything runs in
    config: Path | None
    node_id: str
    host: str
    cores: list[int]
    embedded: Server | None
    foreground: bool
    only: tuple[str, ...] = ()  # pools to run; empty: all

    @property
    def reserved_cores(self) -> int:
        return resolve_reserved_cores(
            self.settings.supervisor.reserved_cores, len(self.cores), embedded=self.embedded is not None
        )


def compose(plan: Plan) -> Composition:
    """The composition. Raises Unusable for `only` names that do not exist."""
    unknown = [name for name in plan.only if name not in plan.settings.pools]
    if unknown:
        raise Unusable(f"--only {unknown[0]}: there is no such pool; there are {', '.join(plan.settings.pools)}")
    database = [_postgres(plan.embedded)] if plan.embedded is not None else []
    before_database = (database[-1].name,) if database else ("collector",)
    env = _environment(plan)
    boot = plan.settings.supervisor.boot_timeout_seconds
    groups = [
        _collector(plan),
        *database,
        Group("migrate", "once", _python("workerctl.broker"), role=True, env=env, cwd=str(plan.project),
              after=before_database, ready=Ready("exit"), boot_timeout_seconds=boot + MIGRATION_SECONDS),
        Group("agent", "agent", _python("workerctl.agent"), role=True, env=env, cwd=str(plan.project),
              after=("migrate",), boot_timeout_seconds=boot, stop_timeout_seconds=10),
        Group("template", "template", _python("workerctl.worker.template"), role=True,
              env=env | {"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}, cwd=str(plan.project),
              after=("collector",), boot_timeout_seconds=boot, stop_timeout_seconds=5),
        *(_pool(plan, name, pool) for name, pool in plan.settings.pools.items() if not plan.only or name in plan.only),
    ]  # fmt: skip
    return Composition(
        home=str(plan.home),
        node=Node(plan.node_id, plan.host, len(plan.cores), plan.reserved_cores),
        groups=tuple(groups),
        version=__version__,
        release=str(plan.project),
        config=str(plan.config) if plan.config else None,
        policy=_policy(plan),
        foreground=plan.foreground,
    )


def check_connections(composition: Composition, wanted: Mapping[str, int]) -> None:
    """Raises Unusable, with the sum, where the workers need more connections than there are.

    `wanted` are counts of pools that differ from the composition's. `scale` is judged by the supervisor alike.
    """
    policy = composition.policy
    counts = {
        group.name: wanted.get(group.name, group.instances) for group in composition.groups if group.kind == "pool"
    }
    workers = sum(counts.values())
    surge = max((max(1, int(count * policy.surge_fraction)) for count in counts.values() if count), default=0)
    total = (workers + surge) * policy.connections_per_worker + policy.connections_fixed
    if policy.connection_limit is not None and total > policy.connection_limit:
        raise Unusable(
            f"{workers} workers need {total} database connections (({workers} workers + {surge} while one is replaced) "
            f"x {policy.connections_per_worker} + {policy.connections_fixed} others), "
            f"connection_limit is {policy.connection_limit}; start fewer, or raise it where the database allows more"
        )


def worker_cores(cores: list[int], reserved: int) -> tuple[int, ...] | None:
    """The cores workers are pinned to: all but the last `reserved`, at least one; None where none is reserved."""
    if reserved == 0:
        return None
    return tuple(cores[: max(1, len(cores) - reserved)])


def _policy(plan: Plan) -> Policy:
    limit = EMBEDDED_CONNECTIONS if plan.embedded is not None else plan.settings.connection_limit
    fixed = AGENT_CONNECTIONS + COMMAND_CONNECTIONS
    return Policy(connection_limit=limit, connections_per_worker=WORKER_CONNECTIONS, connections_fixed=fixed)


def _environment(plan: Plan) -> dict[str, str]:
    return {
        ENV_SETTINGS: str(plan.home / "run" / "settings.json"),
        ENV_HOME: str(plan.home),
        ENV_NODE: plan.node_id,
    }


def _collector(plan: Plan) -> Group:
    logs = plan.settings.logs
    arguments = (
        "--directory",
        str(plan.home / "logs"),
        "--max-size",
        str(logs.max_size_bytes),
        "--keep",
        str(logs.keep),
    )
    return Group("collector", "collector", (*_python("workerctl.logs"), *arguments), role=True, stop_timeout_seconds=10)


def _postgres(server: Server) -> Group:
    return Group("postgres", "command", tuple(server.command), role=True, after=("collector",),
                 ready=Ready("command", tuple(server.probe_command)), stop_signal=STOP_SIGNAL.name,
                 stop_timeout_seconds=POSTGRES_STOP_SECONDS)  # fmt: skip


def _pool(plan: Plan, name: str, pool: PoolSettings) -> Group:
    return Group(
        name,
        "pool",
        after=("collector", "migrate", "agent", "template"),
        template="template",
        instances=resolve_instances(pool.instances, len(plan.cores), plan.reserved_cores),
        max_memory_bytes=pool.max_memory_bytes,
        stop_timeout_seconds=pool.stop_timeout_seconds,
        boot_timeout_seconds=pool.boot_timeout_seconds,
        cores=worker_cores(plan.cores, plan.reserved_cores),
    )


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)
