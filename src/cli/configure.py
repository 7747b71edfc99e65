"""Commands about the configuration: check, show, reference."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import loaded, print_json, say, users_code
from .plain import table

if TYPE_CHECKING:
    from ..settings import Loaded

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""
    group = typer.Typer(help="Validate and explain the configuration.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("check", check), ("show", show), ("reference", reference)):
        group.command(name)(command)
    app.add_typer(group, name="config")


def check() -> None:
    """Validate the configuration. Exit 78 and one line where it cannot work; kinds that nobody knows are noted.

    Payloads of scheduled tasks are checked as `enqueue` checks them.

    Example: workerctl -c config/workerctl.toml config check
    """
    from ..handler import handlers
    from ..worker.load import ImportFailed, load_each_pool
    from .known_kinds import unknown_kinds, unserved_kinds

    found = loaded()
    known: dict[str, dict[str, str]] = {}
    try:
        with users_code():
            for pool in load_each_pool(found.settings):
                known[pool] = _kinds_here(shipped=found.settings.pools[pool].shipped)
        for line in (*unknown_kinds(found.settings, handlers()), *unserved_kinds(found.settings, known)):
            say(f"note: {line}")
    except ImportFailed as error:
        say(f"note: which kinds there are is not known here: {error}")
    _check_scheduled(found)
    say(f"{found.config_path or 'defaults'}: fine")


def _kinds_here(*, shipped: bool) -> dict[str, str]:
    """Kinds, with their queues, whose modules are imported now; a module that was forgotten belongs to another pool."""
    from ..handler import handlers

    modules = {kind: handler.function.__module__ for kind, handler in handlers().items()}
    return {
        kind: handlers()[kind].queue
        for kind, module in modules.items()
        if module in sys.modules and (shipped or not module.startswith("workerctl."))
    }


def _check_scheduled(found: Loaded) -> None:
    """Raises Unusable for a task whose payload its kind's handler would refuse."""
    from ..contract import Unusable
    from ..handler import InvalidPayload, Refused, job_spec

    for name, task in found.settings.schedule.items():
        try:
            job_spec(task.kind, task.payload)
        except (InvalidPayload, Refused) as error:
            raise Unusable(f"{found.config_path}: schedule.{name}: {error}") from None


def show(as_json: JsonFlag = False) -> None:
    """The effective values, each with where it came from. Secrets are hidden.

    Example: workerctl config show
    """
    found = loaded()
    rows = effective(found)
    if as_json:
        print_json([{"key": key, "value": value, "origin": origin} for key, value, origin in rows])
        return
    say(f"config {found.config_path or 'none'}, home {found.home}")
    cells = [[key, origin, value_text(value)] for key, value, origin in rows]
    sys.stdout.write(table(("key", "from", "value"), cells) + "\n")


def value_text(value: Any) -> str:
    """A value for people: durations and sizes without quotes, `-` where there is none."""
    import msgspec

    if value is None:
        return "-"
    return str(value) if isinstance(value, Spelled) else msgspec.json.encode(value).decode()


class Spelled(str):
    """A duration, a size or a hidden secret: a text in JSON, and for people without quotes."""

    __slots__ = ()


def effective(found: Loaded) -> list[tuple[str, Any, str]]:
    """(key, value, origin) of every key, as the file would spell it and without secrets; None where there is none."""
    import msgspec

    from ..settings import reference as entries
    from ..settings.redact import HIDDEN, redact, without_secrets
    from ..settings.refusal import parts
    from ..settings.types import SECRETS
    from ..settings.units import duration_text, size_text

    units = {entry.key: entry.unit for entry in entries()}
    document = msgspec.to_builtins(found.settings, str_keys=True)
    rows = []
    for key, origin in found.origins.items():
        path = parts(key)
        value: Any = document
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        unit = units.get(key) or units.get(".".join([path[0], "NAME", *path[2:]]), "")
        if value is not None and path[-1] in SECRETS:
            value = Spelled(redact(value) if "://" in value else HIDDEN)
        elif value is not None and unit:
            value = Spelled(duration_text(value) if unit == "duration" else size_text(value))
        else:
            value = without_secrets(value)
        rows.append((key, value, origin))
    return rows


def reference(as_json: JsonFlag = False) -> None:
    """Every key with its default and meaning.

    Example: workerctl config reference
    """
    from ..settings import reference as entries

    if as_json:
        import tomllib

        defaults = {
            entry.key: tomllib.loads(f"value = {entry.default}")["value"] for entry in entries() if entry.default
        }
        print_json([{"key": each.key, "default": defaults.get(each.key), "meaning": each.text} for each in entries()])
        return
    rows = [[entry.key, entry.default or "", entry.text] for entry in entries()]
    sys.stdout.write(table(("key", "default", "meaning"), rows) + "\n")
