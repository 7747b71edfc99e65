"""The only module that opens connections to PostgreSQL; every wait on one is bounded."""

from __future__ import annotations

import functools
import re
import select
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from ..contract import Unreachable, Unusable
from .dial import Dial, takes_long

# A cut network is noticed after about 4 s (measured with a link taken down), instead of minutes with the defaults.
_BOUNDS: dict[str, Any] = {
    "connect_timeout": 3,
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 4000,
}
# Classes of SQLSTATE that are about the server, the connection or what others do just now, not about what was said:
# connection, transaction state (a standby takes no writes), rollback, resources, locks, operator, system.
_PASSING = frozenset({"08", "25", "40", "53", "55", "57", "58"})
TOO_LONG = "57014"  # the statement took longer than it may
SLOW = frozenset({TOO_LONG, "55P03"})  # or waited so long for somebody's lock
UNSTORABLE = (  # whatever the connection: wrong in itself, or too large for what the server can do
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.NotSupportedError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)
STATEMENT_TIMEOUT_MS = 5000
# Whatever the role or the database has: who counts under a lock must see what was committed before it had that lock,
# psycopg reads times in ISO alone, and seconds are no whole ones.
_SETTINGS = (
    r"-c default_transaction_isolation=read\ committed -c datestyle=ISO -c lock_timeout=4500 -c idle_session_timeout=0"
    r" -c idle_in_transaction_session_timeout=60000 -c jit=off -c extra_float_digits=1"
)
OWNER_ADVICE = "use the role that owns the schema workerctl, or CREATE SCHEMA workerctl AUTHORIZATION this one"
_SQL = Path(__file__).with_name("sql")
SILENCE_SECONDS = 8.0  # a server that does not even cancel its statement in time is frozen, or its machine is

Answer = TypeVar("Answer")


class Attended(Protocol):
    """Something that is heard while a connection waits for an answer."""

    def fileno(self) -> int: ...

    def attend(self) -> None:
        """It is readable: read it."""


class _Patient(psycopg.Connection[Any]):
    """Waits for the server, but not for ever: a frozen one never answers, and its kernel keeps the connection alive.

    A worker that waited on it would miss its heartbeats and be killed as hung, with its jobs in hand.
    """

    silence_seconds = SILENCE_SECONDS
    beside: Attended | None = None

    def wait(self, gen: Generator[Any, Any, Answer], *arguments: Any, **options: Any) -> Answer:
        try:
            if self.beside is not None:
                return _attending(gen, self.fileno(), self.beside, self.silence_seconds)
            return super().wait(_within(gen, self.silence_seconds), *arguments, **options)
        except _Silent:
            self.close()
            raise Silence(f"the server has not answered for {self.silence_seconds:g} s") from None


class Silence(psycopg.OperationalError):
    """The server is frozen, or through a pooler, where no statement has a limit, its statement takes long."""


class _Silent(Exception):
    """The generator below has waited too long."""


def _within(waiting: Generator[Any, Any, Answer], seconds: float) -> Generator[Any, Any, Answer]:
    give_up_at = time.monotonic() + seconds
    ready = None
    while True:
        try:
            wanted = waiting.send(ready)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        ready = yield wanted
        if not ready and time.monotonic() > give_up_at:  # psycopg says so every 0.1 s when nothing has come
            raise _Silent


def _attending(waiting: Generator[Any, Any, Answer], ours: int, beside: Attended, seconds: float) -> Answer:
    """As psycopg waits, by its protocol (psycopg/waiting.py), with an ear for something else."""
    give_up_at = time.monotonic() + seconds
    poll = select.poll()
    poll.register(beside, select.POLLIN)
    try:
        wanted = next(waiting)
        while True:
            poll.register(ours, select.POLLIN * bool(wanted & Wait.R) | select.POLLOUT * bool(wanted & Wait.W))
            ready = 0
            for descriptor, events in poll.poll(100):
                if descriptor != ours:
                    beside.attend()
                    continue
                ready = Ready.R * bool(events & ~select.POLLOUT) | Ready.W * bool(events & select.POLLOUT)
            if ready:
                wanted = waiting.send(ready)
            elif time.monotonic() > give_up_at:
                raise _Silent
    except StopIteration as end:
        answer: Answer = end.value
        return answer


def attend(connection: psycopg.Connection[Any], beside: Attended) -> None:
    """From now on `beside` is heard, too, while this bounded connection waits."""
    assert isinstance(connection, _Patient)
    connection.beside = beside


def connect(
    url: str, *, application: str, pooled: bool = False, bounded: bool = True, within_seconds: float | None = None
) -> psycopg.Connection[Any]:
    """An autocommit connection. Raises Unreachable with host and port, never with the password, and Unusable.

    Through a transaction pooler nothing may live in the session: no prepared statements and no options at connect.
    `bounded` limits each statement to 5 s (not through a pooler). Migrations are not, and prepare nothing either.
    Who sends heartbeats gives up after `within_seconds`: of a silent resolver, or of many addresses, there is no limit.
    """
    options: dict[str, Any] = {}
    if bounded and not pooled:
        options["options"] = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} {_SETTINGS}"
    dial: Callable[[], psycopg.Connection[Any]] = functools.partial(
        (_Patient if bounded else psycopg.Connection[Any]).connect,
        url,
        autocommit=True,
        application_name=f"workerctl {application}",
        client_encoding="utf8",  # that of the JSON that `answer` says and hears, whatever the database's own is
        **_BOUNDS,
        **options,
    )
    try:
        if within_seconds is not None and takes_long(_parts(url).get("host")):
            connection = Dial.within(within_seconds, f"{application} {url}", dial)
        else:
            connection = dial()
    except psycopg.OperationalError as error:
        raise unreachable(url, error) from None
    except psycopg.ProgrammingError:
        _parts(url)
        raise
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # of its transactions, where it has any
    style = connection.info.parameter_status("DateStyle") or ""
    if bounded and not style.startswith("ISO"):
        connection.close()
        raise Unusable(
            f"database at {place(url)} writes times in the style {style!r}, which cannot be read through a pooler: "
            "ALTER ROLE ... SET datestyle = 'ISO'"
        )
    connection.prepare_threshold = 1 if bounded and not pooled else None  # migrations may go through a pooler too
    return connection


def unreachable(url: str, error: Exception) -> Unreachable:
    """The one-line error for a database that does not answer, or answers that it cannot, such as for a full disk."""
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    if said:
        return Unreachable(f"database at {place(url)} refuses: {said}")
    said_by_libpq = [
        line for line in str(error).splitlines() if line and not line.startswith(("\t", "DETAIL:", "HINT:"))
    ]
    reason = said_by_libpq[-1].rpartition(" failed: ")[2].strip() if said_by_libpq else type(error).__name__
    password = _parts(url).get("password")
    if password:
        reason = reason.replace(str(password), "***")
    if "unsupported startup parameter" in reason:
        reason += "; it is a transaction pooler: say so with ?pgbouncer=true at the end of the URL"
    verb = "refuses" if reason.startswith("FATAL: ") else "does not answer"
    return Unreachable(f"database at {place(url)} {verb}: {reason.removeprefix('FATAL: ').lstrip()}")


def refused(url: str, error: psycopg.Error) -> Unusable:
    """The one-line error for what the database understands and will not do, such as for a role without the right."""
    said = (error.diag.message_primary or str(error).strip()).splitlines()[0]
    advice = f"; {OWNER_ADVICE}" if isinstance(error, psycopg.errors.InsufficientPrivilege) else ""
    return Unusable(f"database at {place(url)} refuses: {said}{advice}")


def is_away(error: psycopg.Error) -> bool:
    """Whether the same statement may work when it is said again; else the server has understood and refused it."""
    if error.sqlstate is None:  # said by libpq or by us
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate[:2] in _PASSING


def place(url: str) -> str:
    """Host and port (or socket folder) and database name of a connection URL; nothing secret."""
    parts = _parts(url)
    return f"{parts.get('host') or 'localhost'}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


def _parts(url: str) -> dict[str, Any]:
    """What libpq reads in a URL. Raises Unusable, naming a parameter that it does not know and nothing else."""
    try:
        return conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        said = re.fullmatch(r'invalid URI query parameter: "\w+"', str(error).strip())
        raise Unusable(f"database_url: {said[0] if said else 'PostgreSQL cannot read this URL'}") from None


@functools.cache
def statement(name: str) -> str:
    """The text of sql/NAME.sql, one statement."""
    with open(f"{_SQL}/{name}.sql", "rb") as file:  # noqa: PTH123  pathlib and codecs take 0.3 MB of an agent's memory
        return file.read().decode()


def answer(
    connection: psycopg.Connection[Any],
    name: str,
    read: Callable[[bytes], Answer],
    *arguments: bytes,
    meanwhile: Callable[[], None] | None = None,
) -> Answer:
    """What `read` makes of the one value that sql/NAME.sql answers; `arguments` are its $1 and so on, all as text.

    `meanwhile` is called once the question is sent, `read` while the server still commits, which takes as long as the
    reading; that it has committed is known when this returns. Raises psycopg.Error. By libpq itself: what psycopg does
    around a statement costs a worker 45 us, and 200 us one that was idle, whose processor has forgotten all that code.
    The connection is an autocommit one, or has a transaction open.
    """
    pgconn = connection.pgconn
    pgconn.enter_pipeline_mode()
    if connection.prepare_threshold is None:  # through a pooler
        pgconn.send_query_params(statement(name).encode(), arguments)
    else:
        prepared: set[str] = vars(connection).setdefault("prepared_by_workerctl", set())
        if name not in prepared:
            pgconn.send_prepare(name.encode(), statement(name).encode())
        pgconn.send_query_prepared(name.encode(), arguments)
    pgconn.send_flush_request()  # the value comes before its commit
    pgconn.pipeline_sync()
    answers, refused = connection.wait(_answers(pgconn, read, meanwhile))
    if refused is not None:
        raise error_from_result(refused)
    if connection.prepare_threshold is not None:
        prepared.add(name)
    return answers[0]


def _answers(
    pgconn: PGconn, read: Callable[[bytes], Answer], meanwhile: Callable[[], None] | None
) -> PQGen[tuple[list[Answer], PGresult | None]]:
    """Up to the end of the transaction: what was read, and what was refused, be it the commit."""
    answers: list[Answer] = []
    refused: PGresult | None = None
    yield from generators.send(pgconn)
    if meanwhile is not None:
        meanwhile()
    while True:
        try:
            result = yield from generators.fetch(pgconn)
        except psycopg.OperationalError:
            if refused is None:
                raise
            return answers, refused  # the last words of a server that goes away
        if result is None:  # the end of one message of ours
            if pgconn.status != ConnStatus.OK:
                raise (
                    psycopg.OperationalError("the connection is lost")
                    if refused is None
                    else error_from_result(refused)
                )
        elif result.status == ExecStatus.TUPLES_OK:
            answers.append(read(result.get_value(0, 0) or b""))
        elif result.status == ExecStatus.FATAL_ERROR:
            refused = refused or result
        elif result.status == ExecStatus.PIPELINE_SYNC:
            pgconn.exit_pipeline_mode()
            return answers, refused
