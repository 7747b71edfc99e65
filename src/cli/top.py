"""`workerctl top`: a live view in the terminal; into a pipe one frame."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..contract import NotRunning, WorkerctlError
from .common import console, home

if TYPE_CHECKING:
    import psycopg

    from .top_view import Reading

FRAME_SECONDS = 1.0
LINES_READ = 100
RECONNECT_SECONDS = 5.0


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("top")(top)


def top() -> None:
    """Live view: workers, queues, running jobs and the log. q quits.

    Example: workerctl top
    """
    from rich.live import Live

    from .top_view import frame

    source, out = _Source(home()), console()
    if not sys.stdout.isatty():
        with contextlib.closing(source):
            reading = source.read(must_run=True)
            size = out.size
            out.print(frame(reading, size.width, size.height, keys=False), soft_wrap=False)
        return
    with contextlib.closing(source), _single_keys() as quits, contextlib.suppress(KeyboardInterrupt):
        reading = source.read(must_run=True)
        with Live(console=out, screen=True, auto_refresh=False) as live:
            while True:
                live.update(frame(reading, out.size.width, out.size.height, keys=True), refresh=True)
                if quits(FRAME_SECONDS):
                    return
                reading = source.read(must_run=False)


class _Source:
    """Reads what a frame shows; the database may be away, and then the rest is shown."""

    def __init__(self, place: Path) -> None:
        from .top_samples import Track

        self._home = place
        self._tracks: dict[tuple[str, int], Track] = {}
        self._connection: psycopg.Connection[Any] | None = None
        self._retry_at = 0.0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def read(self, *, must_run: bool) -> Reading:
        """One reading. Raises NotRunning where nothing answers and it must."""
        from ..logs import reader
        from ..supervisor.client import request
        from .top_samples import remember, seats
        from .top_view import Reading

        try:
            document = request(self._home, "status")["status"]
        except NotRunning as error:
            if must_run:
                raise
            return Reading(None, self._tracks, [], [], note=str(error))
        remember(self._tracks, seats(document))
        queues, note = self._queues()
        lines = list(reader.read(self._home / "logs", None, LINES_READ))
        return Reading(document, self._tracks, queues, lines, note)

    def _queues(self) -> tuple[list[dict[str, Any]], str]:
        """The queues, or none and why."""
        import psycopg

        from ..broker.depth import queues

        if self._connection is None and time.monotonic() < self._retry_at:
            return [], "queues: the database does not answer"
        try:
            if self._connection is None:
                self._connection = self._connect()
            return queues(self._connection), ""
        except (WorkerctlError, psycopg.Error):
            self._retry_at = time.monotonic() + RECONNECT_SECONDS
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            return [], "queues: the database does not answer"

    def _connect(self) -> psycopg.Connection[Any]:
        import msgspec

        from ..broker.connection import connect
        from ..broker.found import Database, database_file

        try:
            place = msgspec.json.decode(database_file(self._home).read_bytes(), type=Database)
        except (OSError, msgspec.MsgspecError) as error:
            raise WorkerctlError(str(error)) from None
        return connect(place.url, application="top", pooled=place.pooled)


@contextlib.contextmanager
def _single_keys() -> Iterator[Any]:
    """A function that waits so many seconds and says whether q was typed; the terminal is put back at the end."""
    if not sys.stdin.isatty():
        yield _only_wait
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield lambda seconds: _quit_typed(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _quit_typed(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0]:
            return False
        typed = os.read(descriptor, 1024)
        if not typed or b"q" in typed.lower():
            return True  # end of the terminal counts too
    return False


def _only_wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False
