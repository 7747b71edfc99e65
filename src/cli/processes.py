"""Commands about processes: what PM2 users type."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..contract import Exit, NotRunning
from .after_start import judge_start, note_unknown_kinds
from .common import database, fail, home, loaded, print_json, say
from .plain import counted

if TYPE_CHECKING:
    from ..settings import Loaded

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why, for the audit line and `why`.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""
    for name, command in (
        ("start", start),
        ("stop", stop),
        ("restart", restart),
        ("reload", reload),
        ("scale", scale),
        ("status", status),
        ("ls", status),
        ("show", show),
        ("reset", reset),
    ):
        # -1 is a number of workers, not an option
        words = {"ignore_unknown_options": True} if name == "scale" else None
        app.command(name, hidden=name == "ls", context_settings=words)(command)


def start(
    instances: Annotated[
        str | None, typer.Option("--instances", "-i", help="Workers of the default pool: a number, auto or max.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", envvar="SERVICE_TYPE", help="Run just this pool, beside the apps; may be repeated."),
    ] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, as systemd, PM2 and Docker want it.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return before the workers are ready.")] = False,
) -> None:
    """Start the supervisor and its workers. Returns when every worker is ready.

    Example: workerctl start --instances 4
    """
    wanted = _instances(instances)
    _start(loaded(), wanted, tuple(only or ()), foreground=foreground, no_wait=no_wait)


def _start(
    found: Loaded, count: int | str | None, only: tuple[str, ...], *, foreground: bool = False, no_wait: bool = False
) -> None:
    from . import ahead, launch

    launch.refuse_second(found.home)
    launch.prepare(found, instances=count, only=only, foreground=foreground)
    if foreground:
        sys.stdout.flush()
        os.execv(sys.executable, launch.supervisor_command(found.home))
    if no_wait:
        process = ahead.take().start(found.home)
        say(f"starting as pid {process.pid}; see `workerctl status`")
        return
    from .status_table import status_text
    from .waiting import Waiting

    with Waiting() as waiting:
        process = waiting.begin(lambda: ahead.take().start(found.home))
        document = launch.wait_until_up(found.home, process, waiting.show)
    sys.stdout.write(status_text(document) + "\n")
    note_unknown_kinds(found.settings)
    judge_start(document)


def stop(
    now: Annotated[bool, typer.Option("--now", help="Kill what runs; its jobs go back to the queue.")] = False,
    reason: Reason = None,
) -> None:
    """Let running jobs finish, at most stop_timeout, and leave. No new ones begin.

    Example: workerctl stop
    """
    from ..supervisor.client import request
    from ..supervisor.composition import load_composition

    place = home()
    request(place, "stop", now=now, reason=reason)
    _wait_for_end(place)
    say("stopped")
    if load_composition(place / "run" / "composition.json").foreground:
        say("note: PM2, or a container that restarts, starts it again: there `pm2 stop`, `docker stop` are meant")


def restart(
    name: Annotated[str | None, typer.Argument(help="One pool or app; else everything.")] = None,
    reason: Reason = None,
) -> None:
    """Stop and start the same pools. With a name, replace that pool's processes one by one without losing capacity.

    Example: workerctl restart
    """
    from ..supervisor.client import request
    from ..supervisor.composition import load_composition

    if name is not None:
        request(home(), "restart", name=name, reason=reason)
        say(f"restarting {name}; watch it with `workerctl status`")
        return
    found = loaded()  # what could not start again is not stopped
    only: tuple[str, ...] = ()
    try:
        request(found.home, "status", sizes=False)
        running = load_composition(found.home / "run" / "composition.json")
        if running.foreground:
            fail(
                "this supervisor is another's child (systemd, PM2, a container or a terminal), which must start it "
                "again: `systemctl restart`, `pm2 restart`, `docker restart`; `workerctl reload` takes new code"
            )
        only = running.only
        request(found.home, "stop", now=False, reason=reason or "restart")
        _wait_for_end(found.home)
    except NotRunning:
        say("nothing was running")
    _start(found, None, only)


def reload(
    name: Annotated[str | None, typer.Argument(help="One pool or app; else all of them.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return once the supervisor has begun.")] = False,
    reason: Reason = None,
) -> None:
    """Take new code and settings without a gap. One worker is first, then the others; code that fails changes nothing.

    Example: workerctl reload
    """
    from .releases import ask_for_reload, await_news, follow
    from .waiting import Waiting

    found, since = loaded(), time.monotonic()
    asked = ask_for_reload(found, name, reason)
    for key in asked.needs_restart:
        say(f"note: {key} stays as it was: it needs `workerctl restart`")
    news = (*(f"{name} (new)" for name in asked.added), *(f"{name} (removed)" for name in asked.removed))
    what = ", ".join((*asked.pools, *asked.others, *news)) or "nothing"
    if no_wait:
        say(f"reload {asked.number} of {what} has begun; see `workerctl status`")
        return
    with Waiting() as waiting:
        for document in follow(found.home, asked.number):
            waiting.show_reload(document)
        await_news(found.home, {*asked.others, *asked.added}, since)
    say(f"reloaded {what}: release {asked.number}")
    note_unknown_kinds(found.settings)


def scale(
    wanted: Annotated[str, typer.Argument(help="N, +N, -N or POOL=N", metavar="N|+N|-N|POOL=N")],
    wait: Annotated[bool, typer.Option("--wait", help="Return when the workers are there, or gone.")] = False,
    reason: Reason = None,
) -> None:
    """Change the number of workers; it is kept over restarts.

    Example: workerctl scale 3    workerctl scale -1 --wait
    """
    from ..supervisor.client import request

    place = home()
    pool, _, count = wanted.rpartition("=")
    try:
        number = int(count)
    except ValueError:
        fail(f"scale {wanted!r}: expected N, +N, -N or POOL=N", Exit.USAGE)
    change = {"by": number} if count[0] in "+-" else {"to": number}
    answer = request(place, "scale", pool=pool or "default", reason=reason, **change)
    desired = answer["desired"]
    while wait:
        document = request(place, "status", sizes=False)["status"]
        team = next(team for team in document["pools"] if team["name"] == (pool or "default"))
        if team["ready"] == desired and len(_occupied(team)) == desired:
            break
        if any(worker["phase"] == "parked" for worker in team["workers"]):
            fail(f"{team['ready']} of {desired} workers are ready, the others were given up; see `workerctl why`")
        time.sleep(0.05)
    say(f"{pool or 'default'}: {counted(desired, 'worker')}")
    if answer.get("note"):
        say(f"note: {answer['note']}")


def status(
    as_json: JsonFlag = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")] = False,
    fleet: Annotated[bool, typer.Option("--fleet", help="All machines on this database instead of this one.")] = False,
) -> None:
    """What runs: pools, slots, phases, memory, jobs and last exits.

    Example: workerctl status
    """
    while True:
        document, text = _fleet_status() if fleet else _machine_status(sizes=as_json)
        if as_json:
            print_json(document)
        else:
            if watch and sys.stdout.isatty():
                sys.stdout.write("\x1b[H\x1b[2J")
            sys.stdout.write(text + "\n")
        if not watch:
            return
        time.sleep(1)


def _machine_status(*, sizes: bool) -> tuple[dict[str, Any], str]:
    from ..supervisor.client import request
    from .status_table import status_text

    document = request(home(), "status", sizes=sizes)["status"]
    return document, status_text(document)


def _fleet_status() -> tuple[dict[str, Any], str]:
    from ..broker.overview import nodes, workers
    from .fleet_table import fleet_text

    with database() as connection:
        document = {"nodes": nodes(connection), "workers": workers(connection)}
    return document, fleet_text(document["nodes"], document["workers"])


def show(
    name: Annotated[str, typer.Argument(help="POOL or POOL/SLOT", metavar="NAME[/SLOT]")], as_json: JsonFlag = False
) -> None:
    """Everything about one pool, role or slot. Works from the files where nothing runs.

    Example: workerctl show default/1
    """
    from .slots import describe, facts, running_document

    place = home()
    found = facts(place, running_document(place), name)
    if as_json:
        print_json(found)
    else:
        sys.stdout.write(describe(found) + "\n")


def reset(name: Annotated[str, typer.Argument(help="A pool or app")], reason: Reason = None) -> None:
    """Clear restart counts. A slot that was given up tries again.

    Example: workerctl reset default
    """
    from ..supervisor.client import request

    request(home(), "reset", name=name, reason=reason)
    say(f"{name}: counts cleared")


def _instances(text: str | None) -> int | str | None:
    if text is None or text in ("auto", "max"):
        return text
    try:
        number = int(text)
    except ValueError:
        fail(f"--instances {text}: expected auto, max or a number from 0 to 512", Exit.USAGE)
    if not 0 <= number <= 512:
        fail(f"--instances {number}: expected auto, max or a number from 0 to 512", Exit.USAGE)
    return number


def _occupied(team: dict[str, Any]) -> list[dict[str, Any]]:
    return [worker for worker in team["workers"] if worker["pid"] is not None]


def _wait_for_end(place: Path) -> None:
    """Until the supervisor has let go of its lock, which is the last thing it does."""
    from ..supervisor.lock import is_held

    while is_held(place / "run"):
        time.sleep(0.02)
