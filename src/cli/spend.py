"""`workerctl spend`: what calls of providers cost, by whom and for what."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from .common import database, duration, print_json, say


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("spend")(spend)


def spend(
    by: Annotated[str, typer.Option("--by", help="user, plan, model, provider or kind")] = "provider",
    since: Annotated[str, typer.Option("--since", help="How far back, such as 24h or 30d.")] = "30d",
    unresolved: Annotated[
        bool, typer.Option("--unresolved", help="List the calls that may have been paid for nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What calls of providers cost. In the unit of their prices, and no further back than retention goes.

    Example: workerctl spend --by user --since 24h
    """
    from ..broker.spend import paused_providers, unresolved_calls
    from ..broker.spend import spend as spent

    seconds = duration("--since", since)
    with database() as connection:
        rows = unresolved_calls(connection, seconds) if unresolved else spent(connection, by, seconds)
        paused = [] if as_json else paused_providers(connection)
    for provider in paused:
        say(f"provider {provider['name']} is left alone for {provider['seconds']:.0f} s more: {provider['reason']}")
    if as_json:
        print_json(rows)
    else:
        sys.stdout.write((_calls(rows) if unresolved else _groups(rows, by)) + "\n")


def _groups(rows: list[dict[str, Any]], by: str) -> str:
    from .plain import table

    names = ("calls", "images", "input_tokens", "output_tokens", "cost", "wasted", "in_flight", "unresolved")
    cells = [[str(row[by] or "-"), *(f"{row[name]:.4f}" if name == "cost" else str(row[name]) for name in names)]
             for row in rows]  # fmt: skip
    spare = (3, 4, 7, 2, 8, 6)  # tokens, in flight, images, unresolved, wasted
    return table((by, *(name.replace("_", " ") for name in names)), cells, right=frozenset(range(1, 9)), spare=spare)


def _calls(rows: list[dict[str, Any]]) -> str:
    from .plain import table

    names = ("job_id", "state", "provider", "model", "user_id", "cost", "call_key")
    cells = [
        [f"{row['begun_at'].astimezone():%m-%d %H:%M:%S}", *(str(row[name] or "") for name in names)] for row in rows
    ]
    header = ("begun", "job", "state", "provider", "model", "user", "cost", "key")
    return table(header, cells, right=frozenset({1, 6}), spare=(4, 5, 3, 0))
