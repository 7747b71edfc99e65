"""Looks at this machine and this home for `doctor`; changes nothing but one probe file that it removes."""

from __future__ import annotations

import importlib.util
import os
import resource
import secrets
import shutil
import stat
import time
from collections.abc import Collection
from pathlib import Path
from statistics import median

from ..contract import Unusable
from ..settings import Loaded
from ..settings.cores import machine_cores, resolve_instances, resolve_reserved_cores
from ..settings.memory import machine_memory_bytes
from ..settings.types import AppSettings
from .doctor_facts import HomeState, Machine, Packages, PoolPlan, ProviderKey, Wanted
from .programs import app_words, programs_path

FSYNC_ROUNDS = 5
SECRET_FILES = ("run/settings.json", "run/database.json", "run/composition.json", "run/control.sock")


def look_at_wishes(found: Loaded) -> Wanted:
    """What would run here: the configuration and a persisted `scale`."""
    from ..supervisor.state import load_desired

    settings, desired = found.settings, load_desired(found.home)
    cores, embedded = len(machine_cores()), settings.database_url is None
    reserved = resolve_reserved_cores(settings.supervisor.reserved_cores, cores, embedded=embedded)
    pools = tuple(
        PoolPlan(
            name,
            desired.get(name, resolve_instances(pool.instances, cores, reserved)),
            pool.concurrency,
            pool.max_memory_bytes,
            pool.stop_timeout_seconds,
            tuple(core for core in pool.affinity if core not in _affinity()),
        )
        for name, pool in settings.pools.items()
    )
    logs = settings.logs
    uncapped = 2 * logs.max_size_bytes * (logs.keep + 1) * sum(pool.instances for pool in pools)  # stdout and stderr
    missing = tuple(
        (name, program) for name, app in settings.apps.items() if (program := _missing_program(app)) is not None
    )
    log_bytes = logs.max_total_bytes or uncapped
    return Wanted(pools, reserved, settings.connection_limit, embedded, log_bytes, missing)


def look_at_machine() -> Machine:
    """Cores, memory, swap and descriptors of this process."""
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return Machine(
        affinity_cores=len(_affinity()),
        usable_cores=len(machine_cores()),
        memory_bytes=memory.total,
        usable_memory_bytes=machine_memory_bytes(),
        swap_bytes=swap.total,
        swap_used_bytes=swap.used,
        available_bytes=memory.available,
        descriptors_hard=None if hard == resource.RLIM_INFINITY else hard,
    )


def _affinity() -> Collection[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _missing_program(app: AppSettings) -> str | None:
    """The program of an app, where it would not be found when the app is started."""
    program = app_words(app.command)[0]
    place = Path(app.cwd or ".", program) if os.sep in program else program
    return None if shutil.which(place, path=app.env.get("PATH", programs_path())) else program


def look_at_home(home: Path) -> HomeState:
    """Its modes, and the disk below it; where it is not there yet, of the nearest folder above."""
    exists = home.is_dir()
    place = home if exists else next(folder for folder in home.absolute().parents if folder.is_dir())
    status = place.stat()
    fsync_seconds, problem = None, ""
    try:
        fsync_seconds = _fsync_seconds(place)
    except OSError as error:
        problem = f"cannot write below {place}: {error.strerror}"
    return HomeState(
        path=str(home),
        exists=exists,
        mode=stat.S_IMODE(status.st_mode),
        owner_uid=status.st_uid,
        own_uid=os.geteuid(),
        open_to_others=tuple(str(home / name) for name in SECRET_FILES if _is_open(home / name)),
        free_bytes=shutil.disk_usage(place).free,
        fsync_seconds=fsync_seconds,
        problem=problem,
    )


def look_at_packages(found: Loaded) -> Packages:
    """What is installed of the things that are switched on."""
    from ..broker.embedded import find_bin

    problem = ""
    if found.settings.database_url is None:
        try:
            find_bin(Path(found.settings.postgres_bin) if found.settings.postgres_bin else None)
        except Unusable as error:
            problem = str(error)
    return Packages(
        importlib.util.find_spec("jieba") is not None,
        any(pool.shipped for pool in found.settings.pools.values()),
        problem,
    )


def look_at_providers(found: Loaded) -> list[ProviderKey]:
    """Those that need a key, by name."""
    from ..jobs.providers.account import key_variable

    return [
        ProviderKey(name, variable := key_variable(provider), bool(os.environ.get(variable, "").strip()))
        for name, provider in sorted(found.settings.providers.items())
        if provider.type != "local"
    ]


def _is_open(path: Path) -> bool:
    try:
        return bool(path.lstat().st_mode & 0o077)
    except OSError:
        return False


def _fsync_seconds(folder: Path) -> float:
    path = folder / f".doctor-{secrets.token_hex(8)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        taken = []
        for _ in range(FSYNC_ROUNDS):
            os.write(descriptor, b"x" * 4096)
            since = time.monotonic()
            os.fsync(descriptor)
            taken.append(time.monotonic() - since)
        return median(taken)
    finally:
        os.close(descriptor)
        path.unlink()
