"""Commands about the queue's database: migrate, queues, nodes, the schedule."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Annotated, Any, NoReturn

import typer

from ..contract import Exit
from .common import database, fail, loaded, note_change, print_json, refusals_in_a_line, say

TaskArgument = Annotated[str, typer.Argument(help="The scheduled task")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""
    app.command("migrate")(migrate)
    app.command("nodes")(nodes)
    queues = typer.Typer(help="Look at queues, pause and resume them.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("list", queue_list), ("pause", queue_pause), ("resume", queue_resume)):
        queues.command(name)(command)
    app.add_typer(queues, name="queue")
    schedule = typer.Typer(
        help="Look at scheduled tasks, run, pause and resume them.", no_args_is_help=True, rich_markup_mode=None
    )
    for name, command in (
        ("list", schedule_list),
        ("run", schedule_run),
        ("pause", schedule_pause),
        ("resume", schedule_resume),
    ):
        schedule.command(name)(command)
    app.add_typer(schedule, name="schedule")


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only say what is missing; fail where something is.")] = False,
) -> None:
    """Bring the schema up to date; `start` does the same.

    What older code still needs is taken away by the primary, once no node of an older version lives.

    Example: workerctl migrate --check
    """
    from ..broker.connection import connect
    from ..broker.found import find_database
    from ..broker.migrate import migrate as apply
    from ..broker.migrate import pending

    place = find_database(loaded())
    with (
        connect(place.url_direct, application="cli", bounded=False) as connection,
        refusals_in_a_line(place.url_direct),
    ):
        names = [] if check else apply(connection)
        missing = pending(connection)
    before = [migration.name for migration in missing if migration.phase == "pre"]
    if before:
        fail(f"missing: {', '.join(before)}; type `workerctl migrate`")
    say(f"applied {', '.join(names)}" if names else "up to date")
    for migration in missing:
        say(f"{migration.name} waits until no older version lives; see `workerctl nodes`")


def nodes(as_json: JsonFlag = False) -> None:
    """The machines of the fleet, and which is primary. With versions, workers and last renewals.

    Example: workerctl nodes
    """
    from ..broker.overview import nodes as read
    from .fleet_table import nodes_table

    with database() as connection:
        rows = read(connection)
    if as_json:
        print_json(rows)
    else:
        sys.stdout.write(nodes_table(rows) + "\n")


def queue_list(as_json: JsonFlag = False) -> None:
    """Queues with what is due, waits and runs. Also what is tried again, held by limits, and died within a day.

    Example: workerctl queue list
    """
    from ..broker.depth import queues
    from .plain import seconds, table

    with database() as connection:
        rows = queues(connection)
    if as_json:
        print_json(rows)
        return
    names = ("due", "later", "retries", "held", "running", "waiting", "dead_1d")
    cells = [
        [row["queue"], ("paused", "yellow") if row["paused"] else "",
         *(f"{'~' if name == 'due' and row['guessed'] else ''}{row[name]}" for name in names),
         seconds(row["oldest_due_seconds"])]
        for row in rows
    ]  # fmt: skip
    header = ("queue", "state", "due", "later", "retries", "held", "running", "waiting", "dead/d", "oldest due")
    spare = tuple(header.index(name) for name in ("waiting", "retries", "later", "held", "dead/d"))
    sys.stdout.write(table(header, cells, right=frozenset(range(2, 10)), spare=spare) + "\n")


def queue_pause(name: Annotated[str, typer.Argument(help="The queue")]) -> None:
    """Hand out nothing more from a queue; running jobs finish.

    Example: workerctl queue pause image
    """
    from ..broker.depth import lanes
    from ..broker.overview import pause_queue

    if not name:
        fail("queue pause: a queue has a name; see `workerctl queue list`", Exit.USAGE)
    with database() as connection:
        is_known = any(lane["queue"] == name for lane in lanes(connection))
        pause_queue(connection, name, paused=True)
    note_change(f"queue pause {name}")
    say(f"queue {name} is paused")
    if not is_known:
        say(f"note: no job has ever been in a queue {name}; see `workerctl queue list`")


def queue_resume(name: Annotated[str, typer.Argument(help="The queue")]) -> None:
    """Hand out from a paused queue again.

    Example: workerctl queue resume image
    """
    from ..broker.overview import pause_queue

    with database() as connection:
        pause_queue(connection, name, paused=False)
    note_change(f"queue resume {name}")
    say(f"queue {name} goes on")


def schedule_list(as_json: JsonFlag = False) -> None:
    """Scheduled tasks with their last and next due time. Also the last job, its time, and what the primary does.

    Example: workerctl schedule list
    """
    from ..broker.fleet import database_now
    from ..broker.overview import duties, schedules

    with database() as connection:
        rows = schedules(connection)
        built_in = duties(connection)
        now = database_now(connection)
    for row in rows:
        _tell_times(row, now)
    if as_json:
        print_json(rows + [duty | {"built_in": True} for duty in built_in])
        return
    sys.stdout.write(f"{_tasks_table(rows)}\n\n{_duties_table(built_in, now)}\n")


def _tell_times(row: dict[str, Any], now: dt.datetime) -> None:
    """When it is due next, and was last, by the task's clock; where its zone is not known here, by UTC, and no next."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from ..agent.schedule import Task, next_due

    zone: dt.tzinfo = dt.UTC
    try:
        zone = ZoneInfo(row["timezone"])
        row["next_due_at"] = next_due(Task(row["name"], row["cron"], row["timezone"]), now).astimezone(zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        row["next_due_at"] = None
    row["last_tick_at"] = row["last_tick_at"] and row["last_tick_at"].astimezone(zone)
    row["paused"] = row.pop("paused_at") is not None


def _tasks_table(rows: list[dict[str, Any]]) -> str:
    from .plain import seconds, table

    cells = [
        [row["name"], row["cron"], row["timezone"], row["kind"],
         f"{row['last_tick_at']:%Y-%m-%d %H:%M}" if row["last_tick_at"] else "never", str(row["last_job_id"] or "-"),
         row["last_status"] or "-", seconds(row["last_seconds"]),
         "paused" if row["paused"] else f"{row['next_due_at']:%Y-%m-%d %H:%M}" if row["next_due_at"] else "zone?"]
        for row in rows
    ]  # fmt: skip
    header = ("name", "cron", "time zone", "kind", "last", "job", "status", "took", "next")
    spare = tuple(header.index(name) for name in ("took", "job", "cron", "status", "time zone", "kind", "last"))
    return table(header, cells, spare=spare)


def _duties_table(rows: list[dict[str, Any]], now: dt.datetime) -> str:
    from ..settings.units import duration_text
    from .plain import seconds, table

    cells = [
        [row["name"], f"@every {duration_text(row['every_seconds'])}",
         f"{seconds((now - row['last_run_at']).total_seconds())} ago", seconds(row["last_seconds"])]
        for row in rows
    ]  # fmt: skip
    return table(("built in", "every", "last", "took"), cells, right=frozenset({2, 3}))


def schedule_run(name: TaskArgument) -> None:
    """Enqueue a scheduled task now and print the job's id. Its due times stay what they are.

    Example: workerctl schedule run nightly
    """
    from ..broker.overview import run_schedule

    with database() as connection:
        job_id = run_schedule(connection, name)
    if job_id is None:
        _no_such_task(name)
    note_change(f"schedule run {name}")
    sys.stdout.write(f"{job_id}\n")


def schedule_pause(name: TaskArgument) -> None:
    """Make no due times of a task until it is resumed.

    Example: workerctl schedule pause nightly
    """
    _pause(name, paused=True)


def schedule_resume(name: TaskArgument) -> None:
    """Make a paused task's due times again, from the next one on.

    Example: workerctl schedule resume nightly
    """
    _pause(name, paused=False)


def _pause(name: str, *, paused: bool) -> None:
    from ..broker.overview import pause_schedule

    with database() as connection:
        if not pause_schedule(connection, name, paused=paused):
            _no_such_task(name)
    note_change(f"schedule {'pause' if paused else 'resume'} {name}")
    say(f"{name} {'is paused' if paused else 'goes on'}")


def _no_such_task(name: str) -> NoReturn:
    fail(f"no scheduled task is named {name!r}; see `workerctl schedule list`")
