"""What the environment says about keys of the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from .. import contract
from ..contract import Unusable
from .refusal import nearest
from .schema import Key, keys, leaves, paths_like
from .types import Settings, Table
from .units import duration_text

PREFIX = "WORKERCTL_"
CUSTOM = {
    "DATABASE_URL": ("database_url",),
    "DIRECT_URL": ("database_url_direct",),
    "POLL_INTERVAL": ("jobs", "poll_interval"),
    "ERROR_RETRY_DELAY": ("jobs", "retry_delay"),
    "MAX_CONCURRENT_JOBS": ("jobs", "concurrency"),
}
QUEUE_MAX = "QUEUE_MAX_"  # QUEUE_MAX_PAID is admission."plan:paid"
KIND_MAX = "MAX_"  # MAX_DS_CHAT_PAID is limits."ds_chat:paid", for the plans below and those that have a QUEUE_MAX_
PLANS = frozenset({"PAID", "FREE"})  # others' MAX_ variables, such as MAX_FILE_SIZE, are none of our business
_MAYBE_MILLISECONDS = ("POLL_INTERVAL", "ERROR_RETRY_DELAY")
_NOT_KEYS = {value for name, value in vars(contract).items() if name.startswith("ENV_")}


class Said(NamedTuple):
    """One key that the environment sets; `value` is as TOML would have it."""

    name: str
    path: tuple[str, ...]
    value: Any


def read_environment(environ: Mapping[str, str], names: Mapping[str, list[str]], warnings: list[str]) -> Iterator[Said]:
    """Every key that the environment sets, the custom names first: WORKERCTL_ names win over them.

    `names` are the names in use below `pools`, `apps` and `schedule`. An empty variable says nothing. Raises Unusable
    for `WORKERCTL_TABLE__KEY` that is no key; other unknown WORKERCTL_ names become a warning.
    """
    by_path = dict(leaves())
    for name, path in CUSTOM.items():
        text = environ.get(name, "").strip()
        if text:
            value = _as_toml(by_path[path], text)
            yield Said(name, path, _node_seconds(name, value, warnings) if name in _MAYBE_MILLISECONDS else value)
    for name in sorted(environ):
        text = environ[name].strip()
        if name.startswith(QUEUE_MAX) and name != QUEUE_MAX and text:
            yield Said(name, ("admission", f"plan:{name.removeprefix(QUEUE_MAX).lower()}"), _whole_number(name, text))
            continue
        if text and (limit := _kind_and_plan(name, environ)):
            yield Said(name, ("limits", limit), _whole_number(name, text))
            continue
        if not name.startswith(PREFIX) or name in _NOT_KEYS or not text:
            continue
        found = _find(name, names)
        if found is not None:
            yield Said(name, found[0], _as_toml(found[1], text))
        elif "__" in name:
            wanted = tuple(name.removeprefix(PREFIX).lower().split("__"))
            raise Unusable(f"environment {name}: no such key{_hint(wanted)}")
        else:
            warnings.append(f"environment {name} is no key of ours and was ignored")


def _kind_and_plan(name: str, environ: Mapping[str, str]) -> str | None:
    kind, _, plan = name.removeprefix(KIND_MAX).rpartition("_")
    if not name.startswith(KIND_MAX) or not kind or (plan not in PLANS and f"{QUEUE_MAX}{plan}" not in environ):
        return None
    return f"{kind}:{plan}".lower()


def _find(name: str, names: Mapping[str, list[str]]) -> tuple[tuple[str, ...], Key] | None:
    parts = name.removeprefix(PREFIX).split("__")
    table: type[Table] = Settings
    path: tuple[str, ...] = ()
    while parts:
        key = keys(table).get(parts.pop(0).lower())
        if key is None:
            return None
        path += (key.key,)
        if key.table is None:
            return (path, key) if not parts else None
        if key.named and parts:
            path += (_chosen(parts.pop(0), names.get(key.key, [])),)
        table = key.table
    return None


def _chosen(part: str, used: list[str]) -> str:
    # the environment has neither small letters nor dashes: prefer the name that the file spells
    matching = (name for name in used if name.upper().replace("-", "_") == part.upper())
    return next(matching, part.lower())


def _as_toml(key: Key, text: str) -> Any:
    """Text as the value that TOML would have given; what does not fit stays text and is refused later."""
    inner = get_args(key.type)[0]
    if get_origin(inner) is tuple and not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if get_origin(inner) in (tuple, dict):
        try:
            return json.loads(text)
        except ValueError:
            return text
    if inner is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if inner in (str, str | None):
        return text
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    return float(text) if inner is float and re.fullmatch(r"\d*\.\d+", text) else text


def _whole_number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise Unusable(f"environment {name} = {json.dumps(text)}: expected a whole number")
    return int(text)


def _node_seconds(name: str, value: Any, warnings: list[str]) -> Any:
    if isinstance(value, str) or value <= 1000:
        return value
    seconds = value / 1000
    written = duration_text(seconds)
    warnings.append(f'{name}={value} is over 1000 and was read as milliseconds; write "{written}"')
    return seconds


def _hint(wanted: tuple[str, ...]) -> str:
    meant = nearest(wanted, paths_like(wanted))
    return f"; did you mean {PREFIX}{meant.upper().replace('.', '__')} ({meant})?" if meant else ""
