"""Commands that read what was written down: logs, why, flush. They work when nothing runs."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..contract import Exit, NotRunning, Unusable
from .common import duration, fail, home, json_text, print_json, say
from .plain import coloured, counted

LINES_SHOWN = 50
COLOURS = ("cyan", "green", "yellow", "blue")


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""
    app.command("logs")(logs)
    app.command("why")(why)
    app.command("flush")(flush)


def logs(
    name: Annotated[
        str | None, typer.Argument(help="POOL, role or POOL/SLOT; else all.", metavar="NAME[/SLOT]")
    ] = None,
    err: Annotated[bool, typer.Option("--err", help="Only what was written to stderr.")] = False,
    out: Annotated[bool, typer.Option("--out", help="Only what was written to stdout.")] = False,
    lines: Annotated[
        int | None,
        typer.Option("--lines", "-n", min=0, help="So many of the last lines; else 50, with --since or --job all."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
    since: Annotated[str | None, typer.Option("--since", help="Only lines younger than 10m, 2h, 1d.")] = None,
    grep: Annotated[str | None, typer.Option("--grep", help="Only lines that match this regular expression.")] = None,
    job: Annotated[int | None, typer.Option("--job", help="Only lines that this job wrote.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Log lines of all workers, merged by time.

    Example: workerctl logs --err -n 100 -f
    """
    from ..logs import reader
    from ..logs.sources import find_sources
    from .slots import parse

    directory = home() / "logs"
    if not directory.is_dir() and not follow:
        fail(f"there are no logs in {directory}; nothing has been started here", Exit.NOT_RUNNING)
    streams = [stream for stream, wanted in (("out", out), ("err", err)) if wanted] or ["out", "err"]
    selection = None if name is None else [reader.Place(*parse(name))]
    pattern = _pattern(grep)
    after = None if since is None else dt.datetime.now(dt.UTC) - dt.timedelta(seconds=duration("--since", since))
    if lines is None and since is None and job is None:
        lines = LINES_SHOWN
    if selection is not None and not find_sources(directory, selection):
        _no_logs_of(str(name), directory, fails=not follow and not _is_known(selection[0].group))
    read = reader.follow if follow else reader.read
    try:
        for line in read(directory, selection, lines, after, pattern, streams, job=job):
            sys.stdout.write(_json_line(line) if as_json else _text_line(line))
            if follow:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return


def why(
    name: Annotated[str, typer.Argument(help="POOL/SLOT, or POOL for all its slots", metavar="NAME[/SLOT]")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Why processes ended. Of the latest also who asked, its memory, its jobs in hand and its last log lines.

    Example: workerctl why default/2
    """
    from ..logs import reader
    from ..supervisor.last_words import first_stack
    from .endings import ending, exits_table
    from .slots import EXITS_SHOWN, STACKS_SHOWN, WORDS_SHOWN, exits, facts, parse, running_document

    group, slot = parse(name)
    records = exits(home(), group, slot)[-EXITS_SHOWN:]
    if not records:
        facts(home(), running_document(home()), name)  # which ends the command where nobody knows the name
        fail(f"no process of {name} has ended yet; see `workerctl show {name}`")
    for record in records:
        if (asker := record.get("asked_by")) and "uid" in asker:
            asker["user"] = _user_name(asker["uid"])
    latest = records[-1]
    place = reader.parse_place(f"{group}/{latest['slot']}")
    last_lines = list(reader.read(home() / "logs", [place], STACKS_SHOWN, serial=latest["serial"]))
    stacks = first_stack([line.text for line in last_lines])
    last_lines = last_lines[min(stacks, max(0, len(last_lines) - WORDS_SHOWN)) :]
    if as_json:
        print_json({"exits": records, "last_lines": [line.text for line in last_lines]})
        return
    sys.stdout.write(f"{exits_table(records)}\n\nthe latest, pid {latest['pid']}:\n{ending(latest, _user_name)}\n")
    if last_lines:
        sys.stdout.write("\nits last lines:\n")
        sys.stdout.writelines(_text_line(line) for line in last_lines)


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "a user without a name"


def flush(
    name: Annotated[
        str | None, typer.Argument(help="POOL, app, role or POOL/SLOT; else all.", metavar="NAME[/SLOT]")
    ] = None,
) -> None:
    """Empty the logs, rotated files included.

    Example: workerctl flush
    """
    from ..logs.sources import Place, find_sources
    from ..supervisor.client import request
    from .slots import parse

    directory = home() / "logs"
    sources = find_sources(directory, None if name is None else [Place(*parse(name))])
    if name is not None and not sources:
        fail(f"there are no logs of {name} in {directory}; there are of {', '.join(_named(directory)) or 'nobody'}")
    paths = [path for source in sources for path in source.chain()]
    for path in paths:
        path.unlink(missing_ok=True)
    with contextlib.suppress(NotRunning):
        request(home(), "reopen", reason=f"flush {name or ''}".strip())
    say(f"removed {counted(len(paths), 'log file')} in {directory}")


def _no_logs_of(name: str, directory: Path, *, fails: bool) -> None:
    """Say so, and whose there are. `fails`: nobody has that name, and nobody waits until somebody has."""
    told = f"there are no logs of {name}; there are of {', '.join(_named(directory)) or 'nobody'}"
    if fails:
        fail(told)
    say(f"note: {told}")


def _is_known(group: str) -> bool:
    """Whether what ran last in this home has such a name, though it may have written nothing."""
    from ..logs.sources import SUPERVISOR
    from ..supervisor.composition import load_composition
    from ..supervisor.roster import shown_name

    try:
        groups = load_composition(home() / "run" / "composition.json").groups
    except Unusable:
        groups = ()
    return group == SUPERVISOR or any(shown_name(each.name) == group for each in groups)


def _named(directory: Path) -> list[str]:
    """Whose logs there are."""
    from ..logs.sources import find_sources

    return list(dict.fromkeys(source.group for source in find_sources(directory)))


def _text_line(line: Any) -> str:
    name = line.group if line.group == "supervisor" else f"{line.group}/{line.slot}"
    colour = "red" if line.stream == "err" else COLOURS[line.slot % len(COLOURS)]
    at = line.at.astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return f"{coloured(at, 'grey')} {coloured(f'{name:<12}', colour)} {line.text}\n"


def _json_line(line: Any) -> str:
    document = {"at": line.at.isoformat(), "name": line.group, "slot": line.slot, "stream": line.stream,
                "serial": line.serial, "sequence": line.seq, "job": line.job, "kind": line.kind,
                "text": line.text}  # fmt: skip
    return json_text(document) + "\n"


def _pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        return re.compile(text)
    except re.error as error:
        fail(f"--grep {text!r}: {error}", Exit.USAGE)
