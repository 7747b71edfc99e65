"""Finds, merges and builds the settings: the file below the environment, each key with where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..contract import Unusable
from ..location import find_config, find_config_upward, find_home, project_folder, shown_path
from .build import Raw, build_apps, build_named, build_pools, build_schedule, build_table, check_keys
from .check import check
from .database_url import DatabaseUrl, read_database_url
from .environment import read_environment
from .objects import resolve_storage
from .providers import BudgetSettings, ProviderSettings
from .refusal import dotted, refused
from .schema import NAME, keys, leaves
from .types import (
    AppSettings,
    ImagesSettings,
    JobsSettings,
    LogsSettings,
    PoolSettings,
    Settings,
    StorageSettings,
    SupervisorSettings,
)

NAMED = ("pools", "apps", "schedule", "providers", "budgets")  # tables whose names users choose


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """The effective settings and how they came about."""

    settings: Settings
    config_path: Path | None  # None: no file, defaults and environment alone
    home: Path
    origins: dict[str, str]  # of every key: "file", "environment NAME", both of a table of names, or "default"
    warnings: list[str]


def load(config: Path | None, home: Path | None, environ: Mapping[str, str], cwd: Path) -> Loaded:
    """The settings for a command in `cwd` with `--config` and `--home` as given.

    Raises Unusable, in one line with file, key and value and without secrets, where they cannot work.
    """
    config_path = find_config(config, environ, cwd)
    project = project_folder(config_path, cwd)
    warnings: list[str] = []
    raw = _merge(config_path, environ, cwd, warnings)
    check_keys(raw)
    settings = _build(raw, environ, project, warnings)
    check(settings, raw)
    return Loaded(
        settings=settings,
        config_path=config_path,
        home=find_home(home, environ, cwd, project),
        origins=_all_origins(raw, settings),
        warnings=warnings,
    )


def load_for_producer(environ: Mapping[str, str], cwd: Path) -> Loaded:
    """The settings of a program that enqueues, whose config may lie above `cwd`. Raises Unusable as `load`."""
    return load(find_config_upward(environ, cwd), None, environ, cwd)


def _merge(config: Path | None, environ: Mapping[str, str], cwd: Path, warnings: list[str]) -> Raw:
    file = shown_path(config, cwd) if config else "defaults"
    values = _read_file(config, file) if config else {}
    raw = Raw(values, {}, file)
    for path in _paths(values):
        raw.origins[dotted(path)] = "file"
    names = {table: list(values[table]) for table in NAMED if isinstance(values.get(table), dict)}
    for name, path, value in read_environment(environ, names, warnings):
        table: Any = values
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                break  # the file is wrong there, and `check_keys` says so
        else:
            table[path[-1]] = value
            raw.origins[dotted(path)] = f"environment {name}"
    return raw


def _read_file(path: Path, shown: str) -> dict[str, Any]:
    import tomllib

    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except OSError as error:
        raise Unusable(f"{shown}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Unusable(f"{shown}: not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        end = f"at line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}"
        told = f"{shown}: not TOML: {error}".replace("at end of document", end)
        raise Unusable(told + _hint_at_quotes(text, told)) from None


def _hint_at_quotes(text: str, told: str) -> str:
    """What TOML itself does not tell: keys are ASCII unless they are quoted."""
    import re

    line = re.search(r"at line (\d+)", told)
    lines = text.splitlines()
    if line is None or int(line[1]) > len(lines):
        return ""
    key = re.match(r"\s*\[*([^\]=]*)", lines[int(line[1]) - 1])
    parts = [part for part in key[1].strip().split(".") if not part.isascii() and '"' not in part] if key else []
    return f'; a name beyond plain letters needs quotes: "{parts[0]}"' if parts else ""


def _paths(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, value in values.items():
        found.append((*above, name))
        if isinstance(value, dict):
            found += _paths(value, (*above, name))
    return found


def _build(raw: Raw, environ: Mapping[str, str], project: Path, warnings: list[str]) -> Settings:
    top = build_table(raw, Settings, ())
    supervisor = build_table(raw, SupervisorSettings, ("supervisor",))
    jobs = build_table(raw, JobsSettings, ("jobs",))
    path = tuple(str(project / folder) for folder in jobs.path)
    jobs = msgspec.structs.replace(jobs, path=path, prompts=str(project / jobs.prompts))
    url = _database_url(raw, ("database_url",), top.database_url, warnings)
    direct = _database_url(raw, ("database_url_direct",), top.database_url_direct, warnings)
    if direct and direct.pooled:
        warnings.append("database_url_direct says pgbouncer=true, but LISTEN and migrations need a direct connection")
    return msgspec.structs.replace(
        top,
        database_url=url and url.url,
        database_url_direct=direct and direct.url,
        database_pooled=bool(url and url.pooled),
        connection_limit=_connection_limit(raw, top, url),
        postgres_bin=top.postgres_bin and str(project / top.postgres_bin),
        supervisor=supervisor,
        jobs=jobs,
        pools=build_pools(raw, supervisor, jobs, project),
        apps={name: _in_project(app, project) for name, app in build_apps(raw).items()},
        schedule=build_schedule(raw),
        storage=_storage(raw, environ, warnings),
        providers=build_named(raw, ProviderSettings, "providers"),
        budgets=build_named(raw, BudgetSettings, "budgets"),
        images=build_table(raw, ImagesSettings, ("images",)),
        logs=build_table(raw, LogsSettings, ("logs",)),
    )


def _in_project(app: AppSettings, project: Path) -> AppSettings:
    return msgspec.structs.replace(app, cwd=str(project / (app.cwd or ".")))


def _database_url(raw: Raw, path: tuple[str, ...], text: str | None, warnings: list[str]) -> DatabaseUrl | None:
    if text is None:
        return None
    try:
        read = read_database_url(text)
    except ValueError as error:
        raise refused(raw.source(path), path, text, f"{error}; expected a postgresql:// URL") from None
    if read.dropped:
        warnings.append(f"{dotted(path)}: {', '.join(read.dropped)} of the URL means nothing here and was dropped")
    if read.pooled and path == ("database_url",):
        warnings.append("database_url: pgbouncer=true, so it is used as pooled")
    return read


def _connection_limit(raw: Raw, top: Settings, url: DatabaseUrl | None) -> int:
    if "connection_limit" in raw.origins or url is None or url.connection_limit is None:
        return top.connection_limit
    raw.origins["connection_limit"] = raw.origins["database_url"]
    return url.connection_limit


def _storage(raw: Raw, environ: Mapping[str, str], warnings: list[str]) -> StorageSettings:
    path = ("storage", "url")
    given = raw.values.get("storage", {}).get("url") or None
    if given is not None:
        build_table(raw, StorageSettings, ("storage",))  # refuses what is no text
    try:
        storage, origin = resolve_storage(given, environ, warnings)
    except ValueError as error:
        expects = keys(StorageSettings)["url"].expects
        raise refused(raw.source(path), path, given, f"{error}; expected {expects}") from None
    if origin:
        raw.origins[dotted(path)] = origin
    return storage


def _all_origins(raw: Raw, settings: Settings) -> dict[str, str]:
    found: dict[str, str] = {}
    names = {table: list(getattr(settings, table)) for table in NAMED}
    for path, _ in leaves():
        for name in names[path[0]] if NAME in path else [""]:
            actual = tuple(name if part == NAME else part for part in path)
            found[dotted(actual)] = _given(raw, actual) or _inherited(raw, actual)
    return found


def _given(raw: Raw, path: tuple[str, ...]) -> str:
    """Where a key was given; of a table of names, such as `limits`, also each variable that gave one of its entries."""
    origin = raw.origins.get(dotted(path), "")
    entries = raw.values.get(path[0]) if len(path) == 1 else None
    if origin.startswith("environment ") or not isinstance(entries, dict):
        return origin
    each = (raw.origins.get(dotted((*path, name)), "") for name in entries)
    return ", ".join(filter(None, (origin, *(one for one in each if one.startswith("environment ")))))


def _inherited(raw: Raw, path: tuple[str, ...]) -> str:
    if path[0] == "pools" and path[-1] in keys(PoolSettings):
        for table in ("supervisor", "jobs"):
            if origin := raw.origins.get(dotted((table, path[-1]))):
                return origin
    return "default"
