"""What pools may differ in, seen from one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from .types import DEFAULT_POOL, JobsSettings, PoolSettings, Settings

_KEYS = frozenset(JobsSettings.__struct_fields__) & frozenset(PoolSettings.__struct_fields__)


def settings_of_pool(settings: Settings, name: str) -> Settings:
    """The settings as this pool's processes see them: [jobs] with what the pool has of its own."""
    if name == DEFAULT_POOL:
        return settings  # its keys stand there
    own = {key: getattr(settings.pools[name], key) for key in _KEYS}
    return msgspec.structs.replace(settings, jobs=msgspec.structs.replace(settings.jobs, **own))


def code_of(pool: PoolSettings) -> tuple[object, ...]:
    """What a pool's processes import, and from where: those of equal code may do so in one process."""
    return pool.modules, pool.path, pool.shipped


def modules_key(settings: Settings, name: str) -> str:
    """Where the user has written what this pool imports."""
    own = name != DEFAULT_POOL and settings.pools[name].modules != settings.jobs.modules
    return f"pools.{name}.modules" if own else "jobs.modules"


def one_of_each_code(pools: Mapping[str, PoolSettings]) -> list[str]:
    """Names of pools: the first of all that import the same."""
    found: dict[tuple[object, ...], str] = {}
    for name, pool in pools.items():
        found.setdefault(code_of(pool), name)
    return list(found.values())


def pool_serving(settings: Settings, queue: str) -> str:
    """The name of the pool whose workers look into this queue."""
    return next((name for name, pool in settings.pools.items() if queue in pool.queues), DEFAULT_POOL)


def folders_of(pools: Iterable[PoolSettings]) -> tuple[str, ...]:
    """Every folder in which one of them looks for modules, once."""
    return tuple(dict.fromkeys(folder for pool in pools for folder in pool.path))
