"""`workerctl doctor`: looks at everything that a start needs, and says what to do about each thing it finds."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..contract import Exit, Unusable
from .common import loaded, print_json, users_code
from .plain import coloured, counted, printable

if TYPE_CHECKING:
    from ..settings import Loaded
    from .doctor_facts import Finding, Wanted

COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("doctor")(doctor)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check config, database, storage, machine and wrappers. Exit 1 where something cannot work.

    Example: workerctl doctor
    """
    findings = list(examine())
    counts = {level: sum(finding.level == level for finding in findings) for level in COLOURS}
    if as_json:
        rows = [{"level": each.level, "subject": each.subject, "text": each.text, "advice": each.advice}
                for each in findings]  # fmt: skip
        print_json({"findings": rows, "errors": counts["error"], "warnings": counts["warning"]})
    else:
        sys.stdout.writelines(f"{_line(finding)}\n" for finding in findings)
        sys.stdout.write(
            f"{counted(counts['error'], 'error')}, {counted(counts['warning'], 'warning')}, {counts['ok']} ok\n"
        )
    raise typer.Exit(Exit.FAILED if counts["error"] else Exit.DONE)


def examine() -> Iterator[Finding]:
    """Every finding; an unusable configuration is the only one, for the rest depends on it."""
    from .doctor_facts import Finding

    try:
        found = loaded()
    except Unusable as error:
        yield Finding("error", "config", str(error), "put it right first; the rest is checked after that")
        return
    yield Finding("ok", "config", f"{found.config_path or 'no file, defaults and environment alone'}")
    yield from _examine_machine(found)


def _examine_machine(found: Loaded) -> Iterator[Finding]:
    from . import doctor_look as look
    from . import doctor_machine as judge

    yield from _examine_modules(found)
    wanted = look.look_at_wishes(found)
    yield from judge.judge_packages(look.look_at_packages(found), wanted)
    yield from judge.judge_apps(wanted)
    yield from _examine_services(found, wanted)
    machine, home = look.look_at_machine(), look.look_at_home(found.home)
    for judgement in (judge.judge_cores, judge.judge_memory, judge.judge_swap, judge.judge_descriptors):
        yield from judgement(machine, wanted)
    yield from judge.judge_home(home)
    yield from judge.judge_disk(home, wanted)
    yield from _examine_wrappers(found, wanted)


def _examine_modules(found: Loaded) -> Iterator[Finding]:
    """Imports them, as `config check` does."""
    from ..contract import WorkerctlError
    from ..worker.load import load_modules
    from .doctor_facts import Finding

    names = ", ".join(found.settings.jobs.modules)
    if not names:
        return
    try:
        with users_code():
            load_modules(found.settings, warm=False)
    except WorkerctlError as error:
        yield Finding("error", "modules", printable(str(error)), "without it no worker starts")
    else:
        yield Finding("ok", "modules", f"{names} can be imported")


def _examine_services(found: Loaded, wanted: Wanted) -> Iterator[Finding]:
    from . import doctor_probes as probes
    from . import doctor_services as judge
    from .doctor_look import look_at_providers

    database = probes.ask_database(found)
    yield from judge.judge_database(database)
    yield from judge.judge_connections(database, wanted)
    yield from judge.judge_clock(database)
    if found.home.is_dir() or found.settings.storage.url != "file:":  # else the probe would make the home
        yield from judge.judge_storage(probes.ask_storage(found))
    yield from judge.judge_providers(look_at_providers(found))


def _examine_wrappers(found: Loaded, wanted: Wanted) -> Iterator[Finding]:
    from ..location import project_folder
    from .doctor_facts import Finding
    from .doctor_services import judge_container, judge_wrapper
    from .doctor_wrappers import container, pm2_apps, systemd_units
    from .startup_place import own_program

    program = own_program()
    project = project_folder(found.config_path, Path.cwd())
    stop_timeouts = [pool.stop_timeout_seconds for pool in wanted.pools]
    stop_timeouts += [app.stop_timeout_seconds for app in found.settings.apps.values()]
    for wrapper in (*systemd_units(program), *pm2_apps(project, program)):
        if isinstance(wrapper, Finding):
            yield wrapper
        else:
            yield from judge_wrapper(wrapper, stop_timeouts)
    if (around := container(os.environ)) is not None:
        yield from judge_container(around, stop_timeouts)


def _line(finding: Finding) -> str:
    advice = f" -> {finding.advice}" if finding.advice else ""
    return f"{coloured(f'{finding.level:<7}', COLOURS[finding.level])}  {finding.subject:<11}  {finding.text}{advice}"
