"""Commands about jobs: enqueue, list, show, retry, cancel, stats."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..contract import Exit
from .common import database, duration, fail, loaded, note_change, print_json, say, users_code

if TYPE_CHECKING:
    import psycopg

    from ..settings import Settings

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PAYLOAD_TEXT_LIMIT = 8 * 1024 * 1024  # characters; escapes and spaces may blow up what is 1 MiB in the queue


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""
    app.command("enqueue")(enqueue)
    group = typer.Typer(help="Look at jobs, retry and cancel them.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("list", list_), ("show", show), ("retry", retry), ("cancel", cancel), ("stats", stats)):
        group.command(name)(command)
    app.add_typer(group, name="jobs")


def enqueue(
    kind: Annotated[str, typer.Argument(help="The kind of job, such as image.batch")],
    pairs: Annotated[
        list[str] | None,
        typer.Argument(help="Fields of the payload; a value is JSON where it parses.", metavar="[KEY=VALUE]..."),
    ] = None,
    payload: Annotated[str | None, typer.Option("--payload", help="The payload: JSON, @FILE, or - for stdin.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Else the queue its handler declares.")] = None,
    priority: Annotated[
        int, typer.Option("--priority", help="-100 to 100; each step is worth ten minutes of waiting.")
    ] = 0,
    delay: Annotated[str | None, typer.Option("--in", help="Not before this time from now, such as 10m.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="Not before this time, such as 2026-12-24T18:00.")] = None,
    unique: Annotated[
        str | None, typer.Option("--unique", help="An unfinished job with this key is returned instead.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="Whose job it is.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="The user's plan.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show its progress, print its result, fail where it fails.")
    ] = False,
) -> None:
    """Put one job into the queue and print its id.

    Example: workerctl enqueue image.batch prompt="a red fox" count=2 --wait
    """
    from ..broker.fleet import database_now
    from ..producer import enqueue as put
    from .following import follow_job

    content = _payload(pairs or [], payload)
    due = _due(delay, at)
    _know_kinds(loaded().settings, kind)
    with database() as connection:
        run_at = database_now(connection) + due if isinstance(due, dt.timedelta) else due
        with _refusals(by_pairs=bool(pairs)):
            job_id = put(kind, content, queue=queue, priority=priority, run_at=run_at, unique_key=unique,
                         user_id=user, plan=plan, conn=connection)  # fmt: skip
        if not wait:
            _note_unknown(connection, kind)
            sys.stdout.write(f"{job_id}\n")
            return
        job = follow_job(connection, job_id)
    _refuse_failed(job_id, job)
    print_json(job["result"])


@contextlib.contextmanager
def _refusals(*, by_pairs: bool) -> Iterator[None]:
    """What the queue refuses, where more is to be said of it here."""
    from ..handler import InvalidPayload, Refused

    try:
        yield
    except InvalidPayload as error:
        if by_pairs and "Expected `str`, got" in str(error):
            fail(f"{error}; a text that reads as JSON has quotes of its own: key='\"5\"'")
        raise
    except Refused as error:
        if isinstance(error.__cause__, UnicodeEncodeError):
            fail(str(error), Exit.USAGE)  # as any other argument that is no text
        raise


def _refuse_failed(job_id: int, job: dict[str, Any]) -> None:
    """Ends the command where the job has not succeeded, with its error's first line."""
    from .plain import printable

    if job["status"] != "succeeded":
        first, *more = (job["error"] or "no reason given").splitlines()
        advice = f"; see `workerctl jobs show {job_id}`" if more or job["children_total"] else ""
        fail(f"job {job_id} is {job['status']}: {printable(first)}{advice}")


def list_(
    status: Annotated[
        str | None, typer.Option("--status", help="pending, running, waiting, succeeded, dead, cancelled")
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only this kind.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only this user's.")] = None,
    parent: Annotated[int | None, typer.Option("--parent", help="Only children of this job.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10000, help="So many at the most.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Newest jobs first.

    Example: workerctl jobs list --status dead
    """
    from ..broker.jobs import list_jobs
    from .job_text import jobs_table

    with database() as connection:
        rows = list_jobs(connection, status=status, kind=kind, user_id=user, parent_id=parent, limit=limit)
    if as_json:
        print_json(rows)
    else:
        sys.stdout.write(jobs_table(rows) + "\n")


def show(job_id: Annotated[int, typer.Argument(help="The job's id", metavar="ID")], as_json: JsonFlag = False) -> None:
    """Everything about one job, and why it waits. Its counts where it is a batch, what it remembers, its log.

    Example: workerctl jobs show 42
    """
    from ..broker.jobs import job_log, job_memory, list_jobs, show_job
    from .job_text import job_text

    with database() as connection:
        job = show_job(connection, job_id)
        log = job_log(connection, job_id)
        job["remembered"] = job_memory(connection, job_id) or None
        failed = list_jobs(connection, parent_id=job_id, status="dead") if job["children_dead"] else []
    if as_json:
        print_json(job | {"log": log, "failed_children": failed})
    else:
        sys.stdout.write(job_text(job, failed, log) + "\n")


def retry(ids: Annotated[list[int], typer.Argument(help="Ids of ended jobs", metavar="ID...")]) -> None:
    """Try ended jobs again; of a batch just the children that failed.

    Example: workerctl jobs retry 42
    """
    from ..broker.jobs import retry_jobs, show_job
    from .so_far import SoFar

    with database() as connection, SoFar("will run again") as so_far:
        for job_id in ids:
            show_job(connection, job_id)
        count = retry_jobs(connection, ids, so_far)
    if count == 0:
        fail("nothing to redo: no job of these has failed")
    note_change(f"jobs retry {' '.join(map(str, ids))}")
    say(f"{count} job{'s' if count != 1 else ''} will run again")


def cancel(ids: Annotated[list[int], typer.Argument(help="Ids of unfinished jobs", metavar="ID...")]) -> None:
    """Cancel jobs and their children. Pending ones end at once, running ones are stopped within about a second.

    Of a large batch some thousand children at a time: others may begin until it is their turn, and are stopped then.

    Example: workerctl jobs cancel 42
    """
    from ..broker.jobs import cancel_jobs, show_job
    from .so_far import SoFar

    with database() as connection, SoFar("cancelled") as so_far:
        for job_id in ids:
            show_job(connection, job_id)
        count = cancel_jobs(connection, ids, so_far)
    if count == 0:
        fail("nothing to cancel: these jobs have ended")
    note_change(f"jobs cancel {' '.join(map(str, ids))}")
    say(f"{count} job{'s' if count != 1 else ''} cancelled")


def stats(as_json: JsonFlag = False) -> None:
    """Of each kind what waits, how many ran and how long they took. Over the last minute, hour and day.

    Example: workerctl jobs stats
    """
    from ..broker.depth import stats as read
    from .job_text import stats_table

    with database() as connection:
        rows = read(connection)
    if as_json:
        print_json(rows)
    else:
        sys.stdout.write(stats_table(rows) + "\n")


def _payload(pairs: list[str], text: str | None) -> Any:
    if text is None:
        return _fields(pairs)
    if pairs:
        fail("give the payload as KEY=VALUE or with --payload, not both", Exit.USAGE)
    if text == "-":
        text = sys.stdin.read(PAYLOAD_TEXT_LIMIT + 1)
    elif text.startswith("@"):
        try:
            with Path(text[1:]).open(encoding="utf-8") as file:
                text = file.read(PAYLOAD_TEXT_LIMIT + 1)
        except (OSError, UnicodeDecodeError) as error:
            fail(f"--payload {text}: {getattr(error, 'strerror', None) or error}", Exit.USAGE)
    if len(text) > PAYLOAD_TEXT_LIMIT:
        fail("--payload: over 1 MiB; put it into storage and pass its key")
    try:
        return json.loads(text, parse_constant=_no_json)
    except ValueError as error:
        fail(f"--payload: not JSON: {error}", Exit.USAGE)
    except RecursionError:
        fail("--payload: nested too deep", Exit.USAGE)


def _fields(pairs: list[str]) -> dict[str, Any]:
    fields = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            fail(f"{pair!r}: expected KEY=VALUE", Exit.USAGE)
        if key in fields:
            fail(f"{pair!r}: {key} is given twice; a list is {key}='[1, 2]'", Exit.USAGE)
        try:
            fields[key] = json.loads(value, parse_constant=_no_json)
        except ValueError:
            fields[key] = value
        except RecursionError:
            fail(f"{key}: nested too deep", Exit.USAGE)
    return fields


def _no_json(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")  # but Python's, which would read a text such as NaN as a number


def _due(delay: str | None, at: str | None) -> dt.timedelta | dt.datetime | None:
    """How long from now by the fleet's clock, which is not this machine's, or when."""
    if delay is not None and at is not None:
        fail("give --in or --at, not both", Exit.USAGE)
    if delay is not None:
        return dt.timedelta(seconds=duration("--in", delay))
    try:
        return dt.datetime.fromisoformat(at).astimezone() if at is not None else None
    except (ValueError, OverflowError):
        fail(f"--at {at}: expected a time such as 2026-12-24T18:00 or 2026-12-24T18:00+08:00", Exit.USAGE)


def _know_kinds(settings: Settings, kind: str) -> None:
    """Register handlers, so that a payload is checked here; the user's modules only where the kind may be theirs."""
    from ..contract import WorkerctlError
    from ..handler import handlers, know_settings
    from ..worker.load import load_each_pool

    know_settings(settings)
    if any(pool.shipped for pool in settings.pools.values()):
        from ..jobs import shipped  # noqa: F401  registers the shipped kinds
    if kind in handlers() or not any(pool.modules for pool in settings.pools.values()):
        return
    try:
        with users_code():
            for _pool in load_each_pool(settings):
                if kind in handlers():
                    return
    except WorkerctlError as error:
        say(f"note: the payload is not checked here: {error}")


def _note_unknown(connection: psycopg.Connection[Any], kind: str) -> None:
    from ..broker.limits import known_kinds
    from ..handler import handlers
    from .known_kinds import unknown_job

    if (told := unknown_job(kind, known_kinds(connection), handlers())) is not None:
        say(f"note: {told}")
