"""`workerctl demo`: the shipped jobs on real novels, watched as they run, and a summary of what was made where."""

from __future__ import annotations

import enum
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..contract import ENV_NOVELS, Exit
from .common import console, fail, loaded, say

POLL_SECONDS = 0.2
WORKERS = 4
IMAGES = 8


class Provider(enum.StrEnum):
    """Who makes the demo's pictures."""

    CONFIGURED = "configured"
    SIMULATOR = "simulator"


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""
    app.command("demo")(demo)


def demo(
    novel: Annotated[
        list[Path] | None, typer.Option("--novel", help="A text file of your own; may be repeated.")
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, max=50, help="Pictures in the batch.")] = IMAGES,
    provider: Annotated[
        Provider, typer.Option("--provider", help="Who makes the pictures: as configured, or a simulated remote one.")
    ] = Provider.CONFIGURED,
) -> None:
    """The shipped jobs at work: novels, characters, images. Four workers share the work.

    With `--provider simulator` the pictures come over HTTP from a simulated provider that is slow and fails now and
    then; it runs alone, without the novels.

    Example: workerctl demo --novel ~/novel.txt    workerctl demo --provider simulator --images 20
    """
    from .demo_parts import ImagePart

    if provider is Provider.SIMULATOR:
        if novel:
            fail("--provider simulator makes pictures alone; leave --novel out", Exit.USAGE)
        _demonstrate_simulator(ImagePart(images))
        return
    parts = [*_novels(novel), ImagePart(images)]
    with _running_workers(loaded()) as place:
        _demonstrate(place, parts)


def _demonstrate_simulator(part: Any) -> None:
    from .demo_provider import bill, simulated, with_images_from

    found = loaded()
    if _is_running(found.home):
        fail(f"a supervisor runs in {found.home} with its own providers; `workerctl stop` it first, or give --home")
    with simulated() as simulator, _running_workers(with_images_from(simulator, found)) as place:
        try:
            _demonstrate(place, [part])
        finally:
            for line in bill(simulator):
                console().print(line, markup=False)


def _novels(novel: list[Path] | None) -> list[Any]:
    from .demo_parts import NovelPart, known_novels

    own = [path.expanduser().resolve() for path in novel or []]
    missing = [path for path in own if not path.is_file()]
    if missing:
        fail(f"--novel {missing[0]}: there is no such file")
    folder = Path(os.environ.get(ENV_NOVELS) or Path.cwd() / ".cache" / "novels")
    novels = [NovelPart(path, path.stem) for path in own] or known_novels(folder)
    if not novels:
        say(f"no novel in {folder}: type `scripts/demo` in the repository, or give `--novel FILE`; images only")
    return novels


def _demonstrate(place: Any, parts: list[Any]) -> None:
    began = time.monotonic()
    _watch(place, parts)
    unmet = _summarise(place, parts, time.monotonic() - began)
    if unmet:
        fail("; ".join(unmet))


def _is_running(home: Path) -> bool:
    from ..contract import NotRunning
    from ..supervisor.client import request

    try:
        request(home, "status")
    except NotRunning:
        return False
    return True


@contextmanager
def _running_workers(found: Any) -> Iterator[Any]:
    """The settings of a running supervisor; one that is started here is stopped here."""
    from . import launch
    from .processes import stop
    from .waiting import Waiting

    ours = not _is_running(found.home)
    if ours:
        launch.prepare(found, instances=WORKERS, only=(), foreground=False)
        with Waiting() as waiting:
            process = waiting.begin(lambda: launch.start_in_background(found.home))
            launch.wait_until_up(found.home, process, waiting.show)
    try:
        yield found
    finally:
        if ours:
            stop(now=False)


def _watch(place: Any, parts: list[Any]) -> None:
    """Enqueue every part and follow all at once, on a terminal with a bar each."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ..broker.connection import connect
    from ..broker.found import find_database

    database = find_database(place)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        connect(database.url, application="demo", pooled=database.pooled) as connection,
        Progress(*columns, console=console(stderr=True), disable=not sys.stderr.isatty()) as bars,
    ):
        for part in parts:
            part.begin(connection)
        rows = {id(stage): bars.add_task(stage.label, total=None) for part in parts for stage in part.stages}
        while True:
            for part in parts:
                part.advance(connection)
                for stage in part.stages:
                    bars.update(rows[id(stage)], completed=stage.done, total=stage.total)
            if all(part.ended for part in parts):
                return
            time.sleep(POLL_SECONDS)


def _summarise(place: Any, parts: list[Any], seconds: float) -> list[str]:
    """Print what was made where; returns what did not come out as it must."""
    out = console()
    url = place.settings.storage.url
    folder = f" ({place.home / 'storage'})" if url == "file:" else ""
    out.print(f"\n[bold]done in {seconds:.1f} s[/bold]  objects in {url}{folder}")
    unmet: list[str] = []
    for part in parts:
        lines, problems = part.summary()
        out.print("")
        for line in lines:
            out.print(line, markup=False)
        unmet += problems
    workers = sorted({worker for part in parts for worker in part.workers})
    out.print(f"\nworkers that took part: {', '.join(workers)}", markup=False)
    return unmet
