"""Rules over several keys: names, times in order, schedules that can be due."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..contract import HUNG_SECONDS, Unusable
from .build import Raw
from .check_apps import check_apps
from .check_providers import check_providers
from .refusal import dotted, refused
from .types import Settings
from .units import cron_fields, every_seconds, rate, size_text

RESERVED_NAMES = frozenset({"collector", "postgres", "migrate", "agent", "template", "web", "supervisor", "default"})
_LEASE = ("jobs", "lease")
_MODULES = ("jobs", "modules")
_GROUP = ("supervisor", "group")
_LONGEST_NAME = 200  # of a limit or a task, in characters
_MOST = 2**31 - 1  # the queue counts in integers
_LARGEST_PAYLOAD_BYTES = 1024 * 1024  # the queue takes no larger one
_LONGEST_NAME_BYTES = 100  # a name stands in file names, with slot, stream and a rotation's number


def check(settings: Settings, raw: Raw) -> None:
    """Raise Unusable for the first rule that the settings break."""
    if settings.jobs.lease_seconds <= HUNG_SECONDS:
        reason = f"must be longer than {HUNG_SECONDS:g}s, after which a worker is judged hung"
        raise refused(raw.source(_LEASE), _LEASE, raw.values["jobs"]["lease"], reason)
    if settings.supervisor.group is not None and settings.supervisor.user is None:
        reason = "has no meaning without `user`"
        raise refused(raw.source(_GROUP), _GROUP, settings.supervisor.group, reason)
    for name in settings.jobs.modules:
        if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
            reason = f'{name!r} is no name of a module: write it as after `import`, such as "myapp.jobs"'
            raise refused(raw.source(_MODULES), _MODULES, list(settings.jobs.modules), reason)
    _check_pools(settings, raw)
    _check_names_of_apps(settings, raw)
    check_apps(settings, raw)
    check_providers(settings, raw)
    _check_names_of_limits(settings, raw)
    for name, task in settings.schedule.items():
        if not 1 <= len(name) <= _LONGEST_NAME or "\x00" in name:
            reason = f"the name of a task has 1 to {_LONGEST_NAME} characters, none of them NUL"
            raise refused(raw.source(("schedule",)), ("schedule", name), task.cron, reason)
        wrong = {
            "timezone": _wrong_timezone(task.timezone),
            "cron": _wrong_cron(task.cron),
            "kind": _unstorable(task.kind),
            "payload": _wrong_payload(task.payload),
        }
        for key, problem in wrong.items():
            if problem:
                path = ("schedule", name, key)
                raise refused(raw.source(path), path, getattr(task, key), problem)


def _check_names_of_limits(settings: Settings, raw: Raw) -> None:
    tables: dict[str, Mapping[str, int | str]] = {
        "limits": settings.limits,
        "rates": settings.rates,
        "admission": settings.admission,
    }
    for table, named in tables.items():
        for name, value in named.items():
            if problem := wrong_limit_name(name) or _wrong_number(value) or _wrong_admission(table, name):
                raise refused(raw.source((table,)), (table, name), value, problem)


def _wrong_number(value: int | str) -> str | None:
    """Of jobs at once or pending, or a rate's text."""
    try:
        most = value if isinstance(value, int) else rate(value)[0]
    except ValueError as error:
        return str(error)
    return None if most <= _MOST else f"at most {_MOST} are counted"


def _wrong_admission(table: str, name: str) -> str | None:
    """What is pending is counted of a kind or a plan; a key would hold for nothing."""
    return 'admission is by kind or "plan:NAME", not by key' if table == "admission" and "{" in name else None


def wrong_limit_name(name: str) -> str | None:
    """What keeps this from being the name of a limit or rate: a kind, or a key with holes; None for a good one."""
    if not 1 <= len(name) <= _LONGEST_NAME or "\x00" in name:
        return f"a name has 1 to {_LONGEST_NAME} characters, none of them NUL"
    holes = re.findall(r"\{([^{}]*)\}", name)
    known = ("user_id", "plan", "model")
    wrong = [hole for hole in holes if hole not in known and not re.fullmatch(r"payload(\.\w+)+", hole)]
    if wrong or name.count("{") != len(holes) or name.count("}") != len(holes):
        return "in a key stand {user_id}, {plan}, {model} or {payload.field}"
    return None


def _check_pools(settings: Settings, raw: Raw) -> None:
    _check_memory(settings, raw, ("supervisor",))
    taken: dict[str, str] = {}
    for name in raw.values.get("pools", {}):
        path = ("pools", name)
        if problem := next(_wrong_name(name, taken), None):
            raise Unusable(f"{raw.file}: [{dotted(path)}]: {problem}")
        taken[name.casefold()] = f"pools.{name}"
        _check_memory(settings, raw, path)
        queues = settings.pools[name].queues
        if not queues or not all(queues):
            reason = "expected at least one queue name, none of them empty"
            raise refused(raw.source((*path, "queues")), (*path, "queues"), list(queues), reason)


def _check_memory(settings: Settings, raw: Raw, path: tuple[str, ...]) -> None:
    pool = settings.supervisor if path == ("supervisor",) else settings.pools[path[1]]
    if pool.max_memory_hard_bytes is not None and pool.max_memory_hard_bytes < pool.max_memory_bytes:
        key = (*path, "max_memory_hard")
        text = size_text(pool.max_memory_hard_bytes)
        raise refused(raw.source(key), key, text, f"is below max_memory ({size_text(pool.max_memory_bytes)})")


def _check_names_of_apps(settings: Settings, raw: Raw) -> None:
    taken = {name.casefold(): f"pools.{name}" for name in settings.pools}
    for name in settings.apps:
        if problem := next(_wrong_name(name, taken, RESERVED_NAMES - {"web"}), None):
            raise Unusable(f"{raw.file}: [{dotted(('apps', name))}]: {problem}")
        taken[name.casefold()] = f"apps.{name}"


def _wrong_name(name: str, taken: dict[str, str], reserved: frozenset[str] = RESERVED_NAMES) -> Iterator[str]:
    if name.casefold() == "default":
        yield "the default pool's keys stand in [supervisor] and [jobs]"
    if name.casefold().startswith("template-"):
        yield "names that begin with template- belong to the templates of pools"
    if name.casefold() in reserved:
        yield f"the name belongs to a process of workerctl; reserved are {', '.join(sorted(reserved))}"
    if name.casefold() in taken:
        yield f"the name differs from [{taken[name.casefold()]}] in small and capital letters at most"
    if not name or not name[0].isalnum() or not all(letter.isalnum() or letter in "_-" for letter in name):
        yield "expected a name of letters, digits, _ and - that begins with a letter or digit"
    if len(name.encode()) > _LONGEST_NAME_BYTES:
        yield f"the name is longer than {_LONGEST_NAME_BYTES} bytes"


def _wrong_timezone(name: str) -> str | None:
    if name == "UTC":
        return None  # needs no time zone database, which minimal systems lack
    import zoneinfo
    from difflib import get_close_matches

    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        known = zoneinfo.available_timezones()
        if not known:
            return "this machine has no time zones; `pip install tzdata`"
        close = get_close_matches(name, known, n=1, cutoff=0.85)
        return f"unknown time zone; {f'did you mean {close[0]}?' if close else 'expected one such as Asia/Shanghai'}"
    return None


def _wrong_cron(expression: str) -> str | None:
    import cronsim

    try:
        if every_seconds(expression) is None:
            next(cronsim.CronSim(cron_fields(expression), dt.datetime(2024, 1, 1)))
    except cronsim.CronSimError as error:
        return f'{error}; expected a cron expression such as "0 3 * * *"'
    except ValueError as error:
        return f'{error}; expected a duration such as "@every 10m"'
    except StopIteration:
        return "is never due"
    return None


def _wrong_payload(payload: dict[str, Any]) -> str | None:
    if len(msgspec.json.encode(payload)) > _LARGEST_PAYLOAD_BYTES:
        return "is over 1 MiB; put it into storage and name its key"
    return _unstorable(payload)


def _unstorable(value: Any) -> str | None:
    match value:
        case str() if "\x00" in value:
            return "holds the character NUL, which PostgreSQL cannot store"
        case float() if not math.isfinite(value):
            return "holds NaN or an infinity, which JSON does not have"
        case dict():
            return next(filter(None, map(_unstorable, (*value, *value.values()))), None)
        case list():
            return next(filter(None, map(_unstorable, value)), None)
    return None
