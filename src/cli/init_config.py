"""Pure: the text of a new workerctl.toml: every key commented with its default, and what was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from ..settings import Entry
from ..settings.schema import NAME
from .init_pm2 import App

HEAD = """\
# workerctl: every key with its default. Remove the "#" in front of a key to change it.
# The environment wins over it: DATABASE_URL, R2_*, AWS_*, and any key as WORKERCTL_SUPERVISOR__INSTANCES=4.
# Durations are "500ms", "10s", "5m", "2h", "1d" or a number of seconds; sizes "500MB", "1.5GB" or "80%".
# `workerctl config check` says what cannot work, `config show` what is in force, `doctor` looks at everything.
"""
TEXT_COLUMN = 34


def config_text(
    entries: Iterable[Entry], modules: Sequence[str], apps: Sequence[App], app_keys: Collection[str]
) -> str:
    """The file. `modules` are set in [jobs]; `apps` become tables with those of their keys that are in `app_keys`."""
    parts = [HEAD]
    for table, group in groupby(entries, key=lambda entry: entry.key.rpartition(".")[0]):
        chosen = NAME in table.split(".")
        if chosen and table.startswith("apps") and apps:
            continue  # theirs stand at the end
        head = f"#[{table}]" if chosen else f"[{table}]"
        lines = [_entry(entry, modules) for entry in group]
        parts.append("\n".join([head, *lines] if table else lines) + "\n")
    parts += [app_text(app, app_keys) for app in apps]
    return "\n".join(parts)


def app_text(app: App, app_keys: Collection[str]) -> str:
    """One [apps.NAME] table with a comment for everything that got lost; all of it a comment where none is known."""
    notes = [*app.notes, *(f"{key}: there is no such key in [apps.NAME]" for key in lost_keys(app, app_keys))]
    lines = [f"[apps.{app.name if app.name.isascii() else toml(app.name)}]"]
    lines += [f"{key} = {toml(value)}" for key, value in app.keys.items() if not app_keys or key in app_keys]
    if app.env:
        lines.append(f"env = {toml(app.env)}")
    lines = lines if app_keys else [f"#{line}" for line in lines]
    return "\n".join([*(f"# not carried over: {note}" for note in notes), *lines]) + "\n"


def lost_keys(app: App, app_keys: Collection[str]) -> list[str]:
    """Keys that we would write and that [apps.NAME] does not have."""
    return [key for key in app.keys if app_keys and key not in app_keys]


def toml(value: Any) -> str:
    """A value as TOML; tables inline."""
    if isinstance(value, dict):
        inner = ", ".join(f"{_bare(str(key))} = {toml(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[\x7f]", lambda found: f"\\u{ord(found.group()):04x}", text)


def _bare(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml(key)


def _entry(entry: Entry, modules: Sequence[str]) -> str:
    name = entry.key.rpartition(".")[2]
    if entry.key == "jobs.modules" and modules:
        return f"modules = {toml(list(modules))}".ljust(TEXT_COLUMN) + f"# {entry.text}"
    default = entry.default if entry.default is not None else ('""' if "a " in entry.expects[:2] else "0")
    return f"#{name} = {default}".ljust(TEXT_COLUMN) + f"# {entry.text}{'; must be given' if entry.required else ''}"


def wishes(apps: Sequence[App], app_keys: Collection[str]) -> Iterator[str]:
    """What `init` prints: every app and, line by line, what of it was not carried over."""
    for app in apps:
        yield f"{app.name}: {app.keys['command']}"
        lost = [f"{key}: there is no such key in [apps.NAME]" for key in lost_keys(app, app_keys)]
        yield from (f"  not carried over: {note}" for note in [*app.notes, *lost])
