"""Turns the merged raw mapping into the settings types, or says which key cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec

from ..contract import Unusable
from .memory import machine_memory_bytes
from .refusal import dotted, nearest, refused
from .schema import Key, keys, paths_like
from .types import AppSettings, JobsSettings, PoolSettings, ScheduleSettings, Settings, SupervisorSettings, Table
from .units import duration_seconds, size_bytes

Built = TypeVar("Built", bound=Table)

ATTEMPTS_ARE_OF_KINDS = "goes with the kind, whatever pool runs it: @job(..., max_attempts=...), or for all kinds"


class Raw(NamedTuple):
    """What file and environment say together, and which of them says it."""

    values: dict[str, Any]
    origins: dict[str, str]  # of keys that are given: "file" or "environment NAME"
    file: str  # the file's name for errors

    def source(self, path: tuple[str, ...]) -> str:
        origin = self.origins.get(dotted(path), "file")
        return self.file if origin == "file" else origin


def check_keys(raw: Raw, table: type[Table] = Settings, above: tuple[str, ...] = ()) -> None:
    """Raise Unusable for the first key that is none of ours, and for a value where a table belongs."""
    for name, value in _table_at(raw, above).items():
        path = (*above, name)
        key = keys(table).get(name)
        if key is None:
            raise _unknown(raw, path, value)
        if key.table is None:
            continue
        if not isinstance(value, dict):
            raise refused(raw.source(path), path, value, "expected a table")
        if not key.named:
            check_keys(raw, key.table, path)
            continue
        for chosen, inner in value.items():
            if not isinstance(inner, dict):
                raise refused(raw.source(path), (*path, chosen), inner, "expected a table")
            check_keys(raw, key.table, (*path, chosen))


def build_table(raw: Raw, table: type[Built], above: tuple[str, ...], **fallback: Any) -> Built:
    """One table: what is given, else `fallback` by field name, else the default. Raises Unusable."""
    given = _table_at(raw, above)
    fields = dict(fallback)
    for key in keys(table).values():
        path = (*above, key.key)
        if key.table is None and key.key in given and not _says_nothing(key, given[key.key]):
            fields[key.field] = _convert(raw, path, key, given[key.key])
        elif key.default is msgspec.NODEFAULT and key.field not in fields:
            raise Unusable(f"{raw.source(above)}: {dotted(path)} is missing: {key.text}; expected {key.expects}")
    return table(**fields)


def build_pools(raw: Raw, supervisor: SupervisorSettings, jobs: JobsSettings, project: Path) -> dict[str, PoolSettings]:
    """The default pool and the named ones, complete: what they leave out is inherited."""
    inherited = {
        key.field: getattr(table, key.field)
        for table in (jobs, supervisor)
        for key in keys(type(table)).values()
        if key.key in keys(PoolSettings)
    }
    pools = {"default": PoolSettings(queues=(), **inherited)}
    for name in _table_at(raw, ("pools",)):
        pool = build_table(raw, PoolSettings, ("pools", name), **inherited)
        pools[name] = msgspec.structs.replace(pool, path=tuple(str(project / folder) for folder in pool.path))
    return pools


def build_apps(raw: Raw) -> dict[str, AppSettings]:
    """The apps by name."""
    return {name: build_table(raw, AppSettings, ("apps", name)) for name in _table_at(raw, ("apps",))}


def build_schedule(raw: Raw) -> dict[str, ScheduleSettings]:
    """The scheduled tasks by name."""
    names = _table_at(raw, ("schedule",))
    return {name: build_table(raw, ScheduleSettings, ("schedule", name)) for name in names}


def build_named(raw: Raw, table: type[Built], above: str) -> dict[str, Built]:
    """Tables of one type by the names that the user chose."""
    return {name: build_table(raw, table, (above, name)) for name in _table_at(raw, (above,))}


def _table_at(raw: Raw, path: tuple[str, ...]) -> dict[str, Any]:
    table: Any = raw.values
    for part in path:
        table = table.get(part, {})
    found: dict[str, Any] = table
    return found


def _says_nothing(key: Key, value: Any) -> bool:
    return value == "" and key.default is not msgspec.NODEFAULT and isinstance(key.default, str | None)


def _convert(raw: Raw, path: tuple[str, ...], key: Key, value: Any) -> Any:
    try:
        if key.unit == "duration":
            value_in_unit: Any = duration_seconds(value)
        elif key.unit:
            value_in_unit = size_bytes(value, machine_memory_bytes if key.unit == "memory" else None)
        else:
            value_in_unit = value
        return msgspec.convert(value_in_unit, key.type)
    except msgspec.ValidationError:
        if isinstance(value, dict) and get_origin(get_args(key.type)[0]) is dict:  # its names are the user's
            unfit = (((*path, name), each) for name, each in value.items() if not _fits({name: each}, key))
            path, value = next(unfit, (path, value))
        raise refused(raw.source(path), path, value, f"expected {key.expects}") from None
    except ValueError as error:
        raise refused(raw.source(path), path, value, f"{error}; expected {key.expects}") from None


def _fits(value: Any, key: Key) -> bool:
    try:
        msgspec.convert(value, key.type)
    except msgspec.ValidationError:
        return False
    return True


def _unknown(raw: Raw, path: tuple[str, ...], value: Any) -> Unusable:
    if path[0] == "pools" and (elsewhere := _not_of_a_pool(path[-1])):
        return refused(raw.source(path), path, value, elsewhere)
    known = paths_like(path)
    meant = nearest(path, [*known, *(each[:1] for each in known if len(each) > 1)])
    hint = f"; did you mean {meant}?" if meant else ""
    return refused(raw.source(path), path, value, f"unknown key{hint}")


def _not_of_a_pool(key: str) -> str | None:
    """Where a key of [supervisor] or [jobs] has its place that pools cannot differ in; None for every other."""
    for table, settings in (("supervisor", SupervisorSettings), ("jobs", JobsSettings)):
        if key in keys(settings) and key not in keys(PoolSettings):
            reason = ATTEMPTS_ARE_OF_KINDS if key == "max_attempts" else "is one for all pools:"
            return f"{reason} set it in [{table}]"
    return None
