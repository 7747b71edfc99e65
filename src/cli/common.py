"""What every command shares: the two global options, the settings, one line for errors, one way to print."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..contract import Exit, Unusable, WorkerctlError
from .plain import printable

if TYPE_CHECKING:
    import psycopg
    from rich.console import Console

    from ..settings import Loaded


class Options:
    """The global options of this invocation."""

    config: Path | None = None
    home: Path | None = None


options = Options()
_said: set[str] = set()  # what was odd about the settings


def loaded(*, stay_root: bool = False) -> Loaded:
    """The settings of this invocation; what is odd about them goes to stderr once. Raises Unusable.

    Root becomes the configured user where the home is theirs, unless what follows is root's own to write.
    """
    from ..settings import load

    found = load(options.config, options.home, os.environ, Path.cwd())
    if found.settings.supervisor.user is not None and not stay_root:
        from .identity import act_as_owner

        act_as_owner(found)
    _refuse_closed(found.home)
    for warning in found.warnings:
        if warning not in _said:
            say(f"note: {warning}")
            _said.add(warning)
    return found


def home() -> Path:
    """The home alone, for commands that only read what is in it or talk to its supervisor."""
    from ..location import find_config, find_home, project_folder

    cwd = Path.cwd()
    config = find_config(options.config, os.environ, cwd)
    found = find_home(options.home, os.environ, cwd, project_folder(config, cwd))
    _refuse_closed(found)
    return found


def _refuse_closed(home: Path) -> None:
    """Raises Unusable where the home, or what is in it, is another user's."""
    for path in (home, home / "run", home / "run" / "control.sock", home / "state", home / "logs"):
        if os.path.lexists(path) and not os.access(path, os.R_OK | os.W_OK):
            raise Unusable(
                f"{path} belongs to uid {path.stat().st_uid} and is closed to uid {os.geteuid()}: "
                f"run as that user, chown -R {home}, or give another --home"
            )


@contextlib.contextmanager
def users_code() -> Iterator[None]:
    """Around an import of job modules: what they print, replace or change is kept from this command."""
    folder, environ, streams = Path.cwd(), dict(os.environ), (sys.stdout, sys.stderr)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout, sys.stderr = streams
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)


@contextlib.contextmanager
def database() -> Iterator[psycopg.Connection[Any]]:
    """A connection to the queue. Raises NotRunning, Unreachable, Unusable."""
    import psycopg

    from ..broker.connection import UNSTORABLE, connect
    from ..broker.found import find_database

    place = find_database(loaded())
    with connect(place.url, application="cli", pooled=place.pooled) as connection, refusals_in_a_line(place.url):
        try:
            yield connection
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName):
            fail("the queue's schema is missing; type `workerctl migrate` or `workerctl start`")
        except UnicodeEncodeError as error:
            fail(f"{error.object!r} is no text: half a character, or bytes that are not UTF-8", Exit.USAGE)
        except UNSTORABLE as error:  # a number that no id can be, a name that is too long
            fail(f"refused by the database: {str(error).strip().splitlines()[0]}", Exit.USAGE)


@contextlib.contextmanager
def refusals_in_a_line(url: str) -> Iterator[None]:
    """Around what is asked of the database. Raises Unreachable, and Unusable where its role may not do that."""
    import psycopg

    from ..broker.connection import is_away, refused, unreachable

    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise refused(url, error) from None
    except psycopg.Error as error:
        if not is_away(error):
            raise
        raise unreachable(url, error) from None


def note_change(change: str) -> None:
    """An audit line of what this command has changed in the queue, in the supervisor's log where one runs here."""
    from ..contract import NotRunning
    from ..supervisor.client import Refused, request

    with contextlib.suppress(NotRunning, Refused):  # one of an earlier version refuses
        request(home(), "noted", change=change, timeout_seconds=1.0)


def duration(option: str, text: str) -> float:
    """Seconds of a duration on the command line. Ends the command where it is none."""
    from ..settings.units import duration_seconds

    try:
        return duration_seconds(text)
    except ValueError as error:
        fail(f"{option} {text}: {error}; expected a duration such as 500ms, 10s, 5m, 2h or 1d", Exit.USAGE)


def say(text: str) -> None:
    """One line for people, on stderr, whatever others wrote into it."""
    sys.stderr.write(f"{printable(text)}\n")


def fail(text: str, code: int = Exit.FAILED) -> NoReturn:
    """End the command with one line on stderr."""
    error = WorkerctlError(text)
    error.exit_code = Exit(code)
    raise error


def print_json(document: Any) -> None:
    """One JSON document on stdout; dates as ISO 8601."""
    sys.stdout.write(json_text(document, indent=2) + "\n")


def json_text(document: Any, indent: int | None = None) -> str:
    """JSON as stdout can take it: with escapes where its encoding is not UTF-8."""
    escaped = sys.stdout.encoding.lower() not in ("utf-8", "utf8")
    return json.dumps(document, ensure_ascii=escaped, indent=indent, default=_plain)


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def console(*, stderr: bool = False) -> Console:
    """Colour on a terminal, none into a pipe or where NO_COLOR is set."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=not sys.stdout.isatty())
