"""Pure: what one supervisor is to run, from the settings. Everything it runs is a group of slots."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from .. import __version__
from ..contract import ENV_HOME, ENV_NODE, ENV_SETTINGS, Unusable
from ..settings import PoolSettings, Settings
from ..settings.cores import resolve_instances, resolve_reserved_cores
from ..settings.pools import code_of
from ..settings.types import AppSettings
from ..supervisor.composition import Composition, Group, Node, Policy, Ready
from .programs import app_words, programs_path

if TYPE_CHECKING:
    from ..broker.embedded import Server

AGENT_CONNECTIONS = 2  # one that listens, one that asks
COMMAND_CONNECTIONS = 1  # a command of the user's beside the running workers
WORKER_CONNECTIONS = 2  # its own, and the one that ctx.database() opens at most
EMBEDDED_CONNECTIONS = 180  # of the 200 that our own server allows, see broker/_embedded_folder.py
MIGRATION_SECONDS = 60.0  # for the migrations themselves, once the database has answered
POSTGRES_STOP_SECONDS = 30.0
HARD_FACTOR = 1.25  # of max_memory
TEMPLATES = 2  # one and its spare, which is a fork of it: what was imported survives the death of one


class Plan(NamedTuple):
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
    settings_file: Path | None = None  # of the templates' release; None: run/settings.json
    memory_cgroups: tuple[str, ...] = ()  # whose memory limits bind us, innermost first
    postgres: Group | None = None  # a reload's: the one that runs goes on as it is

    @property
    def reserved_cores(self) -> int:
        return resolve_reserved_cores(
            self.settings.supervisor.reserved_cores, len(self.cores), embedded=self.has_postgres
        )

    @property
    def has_postgres(self) -> bool:
        return self.embedded is not None or self.postgres is not None


def compose(plan: Plan) -> Composition:
    """The composition. Raises Unusable for `only` names that do not exist."""
    unknown = [name for name in plan.only if name not in plan.settings.pools]
    if unknown:
        pools_there = ", ".join(plan.settings.pools)
        raise Unusable(f"--only {unknown[0]} (or SERVICE_TYPE): there is no such pool; there are {pools_there}")
    postgres = plan.postgres or (_postgres(plan.embedded) if plan.embedded is not None else None)
    database = [postgres] if postgres is not None else []
    before_database = tuple(group.name for group in database) or ("collector",)
    env = _environment(plan)
    boot = plan.settings.supervisor.boot_timeout_seconds
    pools = {name: pool for name, pool in plan.settings.pools.items() if not plan.only or name in plan.only}
    template_of = _templates(pools)
    templates = list(dict.fromkeys(template_of.values()))
    first = next(iter(templates), None)

    groups = [
        _collector(plan),
        *database,
        *(_template(plan, name, [pool for pool in pools if template_of[pool] == name], env) for name in templates),
        Group("migrate", "once", _python("workerctl.broker"), role=True, env=env, cwd=str(plan.project),
              after=(*before_database, *templates[:1]), template=first,
              ready=Ready("exit"), boot_timeout_seconds=boot + MIGRATION_SECONDS),
        Group("agent", "agent", _python("workerctl.agent"), role=True, env=env, cwd=str(plan.project),
              after=("migrate", *templates[:1]), template=first,
              boot_timeout_seconds=boot, stop_timeout_seconds=10),
        *(_pool(plan, name, pool, template_of[name]) for name, pool in pools.items()),
        *(_app(plan, name, app) for name, app in _in_start_order(plan.settings.apps)),
    ]  # fmt: skip
    return Composition(
        home=str(plan.home),
        node=Node(plan.node_id, plan.host, len(plan.cores), plan.reserved_cores),
        groups=tuple(groups),
        version=__version__,
        release=str(plan.project.resolve()),
        config=str(plan.config) if plan.config else None,
        policy=policy_of(plan.settings.connection_limit, embedded=plan.has_postgres),
        reload_command=_reload_command(plan),
        project=str(plan.project),
        memory_cgroups=plan.memory_cgroups,
        foreground=plan.foreground,
        exit_when_all_parked=plan.settings.supervisor.exit_when_all_parked,
        only=plan.only,
    )


def auto_pools(settings: Settings, desired: Mapping[str, int]) -> frozenset[str]:
    """Pools whose number of workers nobody gave: `auto` or `max`, and not scaled."""
    return frozenset(name for name, pool in settings.pools.items() if isinstance(pool.instances, str)) - set(desired)


def fit_connections(
    composition: Composition, wanted: Mapping[str, int], flexible: frozenset[str]
) -> tuple[Composition, str | None]:
    """Fewer workers in `flexible` pools (auto, max), at least one in each, as far as connection_limit asks for it.

    Returns the composition and, where it changed, one line that says so. `wanted` as for `check_connections`.
    """
    counts = _counts(composition, wanted)
    asked = sum(counts.values())
    limit = composition.policy.connection_limit
    while limit is not None and composition.policy.connections(sum(counts.values())) > limit:
        most = max((name for name in counts if name in flexible), key=counts.__getitem__, default=None)
        if most is None or counts[most] <= 1:
            break
        counts[most] -= 1
    fewer = sum(counts.values())
    if fewer == asked:
        return composition, None
    groups = tuple(
        msgspec.structs.replace(group, instances=counts[group.name]) if group.name in flexible else group
        for group in composition.groups
    )
    note = f"auto: {fewer} workers instead of {asked}: connection_limit {limit} has no room for more"
    return msgspec.structs.replace(composition, groups=groups), note


def check_connections(composition: Composition, wanted: Mapping[str, int]) -> None:
    """Raises Unusable, with the sum, where the workers need more connections than there are.

    `wanted` are counts of pools that differ from the composition's. `scale` is judged by the supervisor alike.
    """
    policy = composition.policy
    counts = _counts(composition, wanted)
    workers = sum(counts.values())
    surge, total = policy.surge(workers), policy.connections(workers)
    if policy.connection_limit is not None and total > policy.connection_limit:
        raise Unusable(
            f"{workers} workers need {total} database connections "
            f"(({workers} workers + {surge} while they are replaced) "
            f"x {policy.connections_per_worker} + {policy.connections_fixed} others), "
            f"connection_limit is {policy.connection_limit}; start fewer, or raise it where the database allows more"
        )


def _counts(composition: Composition, wanted: Mapping[str, int]) -> dict[str, int]:
    return {group.name: wanted.get(group.name, group.instances) for group in composition.groups if group.kind == "pool"}


def worker_cores(cores: list[int], reserved: int) -> tuple[int, ...] | None:
    """The cores workers are pinned to: all but the last `reserved`, at least one; None where none is reserved."""
    if reserved == 0:
        return None
    return tuple(cores[: max(1, len(cores) - reserved)])


def policy_of(connection_limit: int, *, embedded: bool) -> Policy:
    """What is judged by; our own server's limit is known."""
    limit = EMBEDDED_CONNECTIONS if embedded else connection_limit
    fixed = AGENT_CONNECTIONS + COMMAND_CONNECTIONS
    return Policy(connection_limit=limit, connections_per_worker=WORKER_CONNECTIONS, connections_fixed=fixed)


def _environment(plan: Plan) -> dict[str, str]:
    return {
        ENV_SETTINGS: str(plan.settings_file or plan.home / "run" / "settings.json"),
        ENV_HOME: str(plan.home),
        ENV_NODE: plan.node_id,
    }


def _reload_command(plan: Plan) -> tuple[str, ...]:
    """What a hangup runs: the same composition from the config as it is then."""
    config = ("--config", str(plan.config)) if plan.config else ()
    return (*_python("workerctl.cli"), *config, "--home", str(plan.home), "reload", "--no-wait", "--reason")


def _collector(plan: Plan) -> Group:
    logs = plan.settings.logs
    arguments = (
        "--directory", str(plan.home / "logs"),
        "--max-size", str(logs.max_size_bytes),
        "--keep", str(logs.keep),
        "--max-age", str(logs.max_age_seconds),
        "--max-total", str(logs.max_total_bytes),
        "--compress", "yes" if logs.compress else "no",
    )  # fmt: skip
    return Group("collector", "collector", (*_python("workerctl.logs"), *arguments), role=True, stop_timeout_seconds=10)


def _postgres(server: Server) -> Group:
    from ..broker.embedded import STOP_SIGNAL

    return Group("postgres", "command", tuple(server.command), role=True, after=("collector",),
                 ready=Ready("command", tuple(server.probe_command)), stop_signal=STOP_SIGNAL.name,
                 stop_timeout_seconds=POSTGRES_STOP_SECONDS)  # fmt: skip


def _templates(pools: Mapping[str, PoolSettings]) -> dict[str, str]:
    """The template of each pool, one for all that import the same in the same environment: neither can be changed
    after a fork.
    """
    names: dict[tuple[object, ...], str] = {}
    found: dict[str, str] = {}
    for name, pool in pools.items():
        fixed = (code_of(pool), *sorted(pool.env.items()))
        found[name] = names.setdefault(fixed, f"template-{name}" if names else "template")
    return found


def _template(plan: Plan, name: str, pools: Sequence[str], env: dict[str, str]) -> Group:
    pool = plan.settings.pools[pools[0]]
    command = _python("workerctl.worker", pools[0], "workerctl.agent.__main__")
    boot = max(plan.settings.pools[each].boot_timeout_seconds for each in pools)
    return Group(name, "template", command, role=True,
                 env={"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"} | pool.env | env, cwd=str(plan.project),
                 instances=TEMPLATES, after=("collector",), boot_timeout_seconds=boot,
                 stop_timeout_seconds=5)  # fmt: skip


def _pool(plan: Plan, name: str, pool: PoolSettings, template: str) -> Group:
    return Group(
        name,
        "pool",
        after=("collector", "migrate", "agent", template),
        template=template,
        instances=resolve_instances(pool.instances, len(plan.cores), plan.reserved_cores),
        max_memory_bytes=pool.max_memory_bytes,
        max_memory_hard_bytes=pool.max_memory_hard_bytes or int(HARD_FACTOR * pool.max_memory_bytes),
        stop_timeout_seconds=pool.stop_timeout_seconds,
        boot_timeout_seconds=pool.boot_timeout_seconds,
        cores=pool.affinity or worker_cores(plan.cores, plan.reserved_cores),
        nice=pool.nice,
        lifetime_seconds=pool.lifetime_seconds,
        max_jobs=pool.max_jobs,
    )


def _app(plan: Plan, name: str, app: AppSettings) -> Group:
    known = (*plan.settings.apps, *(plan.only or plan.settings.pools), "migrate", "agent")
    known = (*known, "postgres") if plan.has_postgres else known
    return Group(
        name,
        "command",
        app_words(app.command),
        env={"PATH": programs_path(), "PYTHONUNBUFFERED": "1"} | app.env,
        cwd=app.cwd,
        after=("collector", *(other for other in app.after if other in known)),
        ready=_ready(app),
        instances=app.instances,
        max_memory_bytes=app.max_memory_bytes,
        stop_timeout_seconds=app.stop_timeout_seconds,
        boot_timeout_seconds=app.boot_timeout_seconds,
        stop_signal=app.stop_signal,
    )


def _ready(app: AppSettings) -> Ready:
    match app.ready:
        case {"port": int(port)}:
            return Ready("port", port=port)
        case {"command": str(command)}:
            return Ready("command", app_words(command))
        case "notify":
            return Ready("notify")
    return Ready("started")


def _in_start_order(apps: Mapping[str, AppSettings]) -> Iterator[tuple[str, AppSettings]]:
    """Each after those it follows; `settings.check_apps` has refused circles."""
    waiting = dict(apps)
    while waiting:
        name = next(name for name, app in waiting.items() if not any(other in waiting for other in app.after))
        yield name, waiting.pop(name)


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
