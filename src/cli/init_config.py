"""Pure: the text of a new workerctl.toml: every key commented with its default, and what was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
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


def config_text(entries: Iterable[Entry], modules: Sequence[str], apps: Sequence[App]) -> str:
    """The file. `modules` are set in [jobs], and `apps` become tables."""
    parts = [HEAD]
    for table, group in groupby(entries, key=lambda entry: entry.key.rpartition(".")[0]):
        chosen = NAME in table.split(".")
        if table.startswith("apps.") and apps:
            continue  # theirs stand at the end
        head = f"#[{table}]" if chosen else f"[{table}]"
        lines = [_entry(entry, modules) for entry in group]
        parts.append("\n".join([head, *lines] if table else lines) + "\n")
    return "\n".join([*parts, *map(app_text, apps)])


def app_text(app: App) -> str:
    """One [apps.NAME] table, below a comment for everything that got lost."""
    lines = [f"# not carried over: {note}" for note in app.notes]
    lines.append(f"[apps.{_bare(app.name)}]")
    lines += [f"{key} = {toml(value)}" for key, value in app.keys.items()]
    if app.env:
        lines.append(f"env = {toml(app.env)}")
    return "\n".join(lines) + "\n"


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
    default = entry.default or _empty(entry.expects)
    return f"#{name} = {default}".ljust(TEXT_COLUMN) + f"# {entry.text}{'; must be given' if entry.required else ''}"


def _empty(expects: str) -> str:
    """What stands for a key that has no default."""
    return "[]" if expects.startswith("a list") else "0" if expects.startswith("a whole number") else '""'
