"""Commands about limits: list, set, reset."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..contract import Exit
from .common import database, fail, note_change, print_json, say

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NameArgument = Annotated[str, typer.Argument(help="A kind, or a key such as 'user:{user_id}'")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""
    group = typer.Typer(help="How many jobs may run at once in the fleet.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("list", list_), ("set", set_), ("reset", reset)):
        group.command(name)(command)
    app.add_typer(group, name="limits")


def list_(
    seats: Annotated[bool, typer.Option("--seats", help="Who holds each seat, and since when.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Every limit and rate with how much of it is used.

    Example: workerctl limits list --seats
    """
    from ..broker.limits import list_limits, list_seats

    with database() as connection:
        rows = list_seats(connection) if seats else list_limits(connection)
    if as_json:
        print_json(rows)
    else:
        sys.stdout.write((_seats(rows) if seats else _limits(rows)) + "\n")


def set_(
    name: NameArgument, most: Annotated[int, typer.Argument(min=0, max=2**31 - 1, help="Jobs at once; 0 stops them")]
) -> None:
    """Change a limit for the whole fleet at once. It stays so until `limits reset`.

    Example: workerctl limits set image 10
    """
    from ..broker.limits import known_kinds, list_limits, set_limit
    from ..settings.check import wrong_limit_name
    from .known_kinds import unknown_kind

    if problem := wrong_limit_name(name):
        fail(f"limits set {name!r}: {problem}", Exit.USAGE)
    with database() as connection:
        is_new = name not in {row["name"] for row in list_limits(connection)}
        unknown = unknown_kind(name, known_kinds(connection))
        set_limit(connection, name, most)
    note_change(f"limits set {name} {most}")
    say(f"{name}: {most} at once")
    if unknown is not None:
        say(f"note: no worker has ever known the kind {unknown}")
    if is_new and "{" in name:
        say("note: it holds for what is enqueued from now on")


def reset(name: NameArgument) -> None:
    """Back to what the config says.

    Example: workerctl limits reset image
    """
    from ..broker.limits import reset_limit

    with database() as connection:
        if not reset_limit(connection, name):
            fail(f"there is no limit {name!r}; see `workerctl limits list`")
    note_change(f"limits reset {name}")
    say(f"{name}: as configured")


def _limits(rows: list[dict[str, object]]) -> str:
    from .plain import seconds, table

    cells = [
        [
            str(row["key"] or row["name"]),
            f"{row['used']}/{row['most']}",
            str(row["held"]) if row["held"] else "",
            f"per {seconds(float(str(row['period_seconds'])))}" if row["period_seconds"] else "at once",
            "" if row["most"] == row["configured"] else f"config says {row['configured'] or 'nothing'}",
        ]
        for row in rows
    ]
    return table(("limit", "used", "waiting", "", "note"), cells, right=frozenset({1, 2}))


def _seats(rows: list[dict[str, object]]) -> str:
    from .plain import seconds, table

    cells = [
        [str(row["key"]), str(row["job_id"]), str(row["kind"]), str(row["user_id"] or ""),
         seconds(float(str(row["seconds"]))), f"{row['node']} {row['worker']}"]
        for row in rows
    ]  # fmt: skip
    return table(("seat of", "job", "kind", "user", "since", "worker"), cells, right=frozenset({1, 4}), spare=(3, 2))
