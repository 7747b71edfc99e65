"""`workerctl init`: writes a commented config, one from a PM2 file, and a handler with its test."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..contract import ENV_CONFIG, Exit
from .common import fail, options, say

if TYPE_CHECKING:
    from .init_pm2 import App

KIND = re.compile(r"[^\s\"'\\{}]+")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("init")(init)


def init(
    ecosystem: Annotated[
        Path | None, typer.Option("--from", help="A PM2 file, such as ecosystem.config.js.", metavar="FILE")
    ] = None,
    job: Annotated[str | None, typer.Option("--job", help="Also a handler of this kind, and its test.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write workerctl.toml, every key commented. Nothing that exists is overwritten without --force.

    Example: workerctl init --from ecosystem.config.js    workerctl init --job thumbnail.make
    """
    if job is not None and not KIND.fullmatch(job):
        fail(f"--job {job!r}: expected a name such as thumbnail.make, without spaces and quotes", Exit.USAGE)
    target = _target()
    there = _existing(target)
    if there is not None and not force and (job is None or ecosystem is not None):
        fail(f"{there} is there already; --force writes {target} over it" if there == target
             else f"{there} is there already, and {target} would hide it; --force writes it all the same")  # fmt: skip
    apps = _apps(ecosystem)
    if job is not None:
        _write_job(job, target, force=force)
    if there is not None and not force:
        from .init_job import module_name

        say(f'{there} is left as it is; add to it:  [jobs] modules = ["{module_name(job or "")}"]')
        return
    _write_config(target, job, apps)


def _target() -> Path:
    named = options.config or (Path(os.environ[ENV_CONFIG]) if os.environ.get(ENV_CONFIG) else None)
    return named or Path("workerctl.toml")


def _existing(target: Path) -> Path | None:
    default = [Path("config/workerctl.toml")] if target == Path("workerctl.toml") else []
    return next((path for path in (target, *default) if path.exists()), None)


def _apps(ecosystem: Path | None) -> list[App]:
    if ecosystem is None:
        return []
    from .init_ecosystem import read_ecosystem
    from .init_pm2 import carry_over

    found = read_ecosystem(ecosystem)
    if not found.by_node:
        say(f"note: {ecosystem} was read as literal objects, not evaluated by node")
    if not found.apps:
        say(f"note: {ecosystem} has no apps")
    for key in found.others:
        say(f"not carried over: {key}: only `apps` has a meaning here")
    apps: list[App] = []
    for raw in found.apps:
        carried = carry_over(raw, [app.name for app in apps])
        if carried is None:
            say(f"{raw.get('name')}: workerctl itself; `workerctl startup pm2` writes that app")
        else:
            apps.append(carried)
    return apps


def _write_job(kind: str, target: Path, *, force: bool) -> None:
    from .init_job import handler_text, module_name, proof_text

    module, folder = module_name(kind), _project(target)
    texts = {folder / f"{module}.py": handler_text(kind), folder / f"test_{module}.py": proof_text(kind)}
    there = [path for path in texts if path.exists()]
    if there and not force:
        fail(f"{there[0]} is there already; --force writes over it")
    for path, text in texts.items():
        _write(path, text)
    say(f"try it: python -m pytest test_{module}.py")


def _write_config(target: Path, job: str | None, apps: list[App]) -> None:
    from ..settings import reference
    from .init_config import config_text
    from .init_job import module_name

    _write(target, config_text(reference(), [module_name(job)] if job else [], apps))
    for app in apps:
        say(f"{app.name}: {app.keys['command']}")
        for note in app.notes:
            say(f"  not carried over: {note}")
    say("next: `workerctl config check`, `workerctl doctor`, `workerctl start`")


def _project(target: Path) -> Path:
    from ..location import project_folder

    return project_folder(target, Path.cwd()).relative_to(Path.cwd()) if not target.is_absolute() else target.parent


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {path}: {error.strerror}")
    say(f"wrote {path}")
