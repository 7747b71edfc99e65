"""Every wait on a connection ends, whatever the server does; what goes by libpq itself fails as all else does."""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest

from workerctl.broker.__main__ import _take_node
from workerctl.broker.connection import answer, connect, unreachable
from workerctl.broker.exchange import Reply, Request, exchange
from workerctl.broker.fleet import KnownKind, Registration, register_worker
from workerctl.broker.found import Database
from workerctl.broker.migrate import migrate
from workerctl.broker.surroundings import Surroundings
from workerctl.contract import Unusable
from workerctl.producer import enqueue
from workerctl.settings import load


def test_a_frozen_server_is_given_up_and_the_connection_closed(database_url: str) -> None:
    with connect(database_url, application="test") as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        connection.silence_seconds = 0.5  # type: ignore[attr-defined]
        os.kill(row[0], signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(psycopg.OperationalError, match=r"has not answered for 0\.5 s"):
                answer(connection, "exchange", bytes, b"1", b"{}")
            assert time.monotonic() - began < 5
            assert connection.closed
        finally:
            os.kill(row[0], signal.SIGCONT)


def test_a_slow_statement_is_cancelled_by_the_server_and_the_connection_lives(database_url: str) -> None:
    with connect(database_url, application="test") as connection:
        connection.execute("SET statement_timeout = '50ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(5)")
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_rows_that_come_slowly_but_come_are_waited_for(database_url: str) -> None:
    with connect(database_url, application="test") as connection:
        connection.silence_seconds = 60.0  # type: ignore[attr-defined]
        assert connection.execute("SELECT pg_sleep(0.5), 7").fetchone() == ("", 7)


@pytest.mark.parametrize("pooled", [False, True])
def test_what_goes_by_libpq_raises_the_servers_error_and_the_connection_lives(
    database_url: str, *, pooled: bool
) -> None:
    with connect(database_url, application="test", pooled=pooled) as connection:
        with pytest.raises(psycopg.errors.InvalidSchemaName):
            answer(connection, "exchange", bytes, b"1", b"{}")
        migrate(connection)
        assert answer(connection, "exchange", bytes, b"1", b"{}") == b'{"gone": true}'
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            answer(connection, "exchange", bytes, b"1", b"no json")
        assert answer(connection, "exchange", bytes, b"1", b"{}") == b'{"gone": true}'
    with pytest.raises(psycopg.OperationalError, match="pipeline mode"):
        answer(connection, "exchange", bytes, b"1", b"{}")


def test_what_is_said_is_utf8_whatever_the_surroundings_say(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with connect(database_url, application="test") as connection:
        migrate(connection)
        kinds = [KnownKind("a", "default", 3, 1)]
        worker = register_worker(connection, Registration("n1.1", "n1", "h", "default", 1, 1, None, [], 30), kinds)
        enqueue("a", {"title": "café"}, conn=connection)
        [job] = exchange(connection, worker, Request(want=1)).claimed or []
        assert msgspec.json.decode(job.payload) == {"title": "café"}


def test_what_is_read_ahead_counts_for_nothing_where_the_server_refuses_at_the_commit(database_url: str) -> None:
    ahead: list[Reply] = []
    with connect(database_url, application="test") as connection:
        migrate(connection)
        kinds = [KnownKind("a", "default", 3, 1)]
        worker = register_worker(connection, Registration("n1.1", "n1", "h", "default", 1, 1, None, [], 30), kinds)
        job_id = enqueue("a", conn=connection)
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not this one'; END $$;"
            "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON workerctl.live DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        with pytest.raises(psycopg.errors.RaiseException, match="not this one"):
            exchange(connection, worker, Request(want=1), ahead.append)
        assert [job.id for reply in ahead for job in reply.claimed or ()] == [job_id]
        connection.execute("DROP TRIGGER late ON workerctl.live")
        assert [job.id for job in exchange(connection, worker, Request(want=1)).claimed or []] == [job_id]


def test_a_large_request_goes_by_libpq_whole(database_url: str) -> None:
    with connect(database_url, application="test") as connection:
        migrate(connection)
        assert (
            answer(connection, "exchange", bytes, b"1", b'{"unheard": "' + b"x" * 20_000_000 + b'"}')
            == b'{"gone": true}'
        )


def test_what_the_database_sets_for_its_sessions_changes_neither_how_limits_are_counted_nor_how_times_are_read(
    database_url: str,
) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    with connect(database_url, application="test") as connection:
        migrate(connection)
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
        connection.execute(f"ALTER DATABASE {name} SET datestyle = 'SQL, DMY'")
    with connect(database_url, application="test") as connection:
        row = connection.execute("SELECT current_setting('transaction_isolation'), now()").fetchone()
        assert row is not None
        assert row[0] == "read committed"
        assert isinstance(row[1], dt.datetime)
        with pytest.raises(Unusable, match="writes times in the style 'SQL, DMY'"):
            connect(database_url, application="test", pooled=True)
        connection.execute(f"ALTER DATABASE {name} RESET datestyle")
    me = Registration("n1.1", "n1", "host", "default", 1, 1, None, [], 30)
    with (
        connect(database_url, application="test", pooled=True) as connection,
        pytest.raises(Unusable, match="limits would not hold where transactions are repeatable read by default"),
    ):
        register_worker(connection, me, [KnownKind("a", "default", 3, 1)])


@pytest.mark.parametrize(
    ("libpq_says", "words"),
    [
        (
            'connection failed: connection to server on socket "/r/.s.PGSQL.5432" failed: FATAL:  the database system '
            "is not yet accepting connections\nDETAIL:  Consistent recovery state has not been yet reached.",
            "refuses: the database system is not yet accepting connections",
        ),
        (
            'connection failed: connection to server on socket "/r/.s.PGSQL.5432" failed: Connection refused\n'
            "\tIs the server running locally and accepting connections on that socket?",
            "does not answer: Connection refused",
        ),
        ("connection timeout expired", "does not answer: connection timeout expired"),
    ],
)
def test_of_what_libpq_says_the_reason_is_told(libpq_says: str, words: str) -> None:
    told = unreachable("postgresql://u:geheim@h/d", psycopg.OperationalError(libpq_says))
    assert str(told) == f"database at h:5432/d {words}"


def test_small_time_limits_of_the_role_or_database_are_overruled_and_hurry_no_migration(
    database_url: str, embedded_server: Any
) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    ours = {"statement_timeout": "5s", "lock_timeout": "4500ms", "idle_in_transaction_session_timeout": "1min"}
    with embedded_server.connect(superuser=True) as root:
        for limit in ours:
            root.execute(f"ALTER DATABASE {name} SET {limit} = '10ms'")
    with connect(database_url, application="test", bounded=False) as connection:
        assert migrate(connection)
        assert connection.execute("SHOW statement_timeout").fetchone() == ("10ms",), "else this shows nothing"
    with connect(database_url, application="test") as connection:
        assert {limit: connection.execute(f"SHOW {limit}").fetchone()[0] for limit in ours} == ours  # type: ignore[index]


def test_small_time_limits_keep_no_node_from_coming_in(
    queue: psycopg.Connection[Any], database_url: str, tmp_path: Path
) -> None:
    around = Surroundings(
        load(None, None, {}, tmp_path).settings, tmp_path, "n", "host", Database(database_url, "", False)
    )
    with connect(database_url, application="test", bounded=False) as connection:
        connection.execute("SET statement_timeout = '10ms'; SET lock_timeout = '10ms'")
        comes_in = threading.Thread(target=_take_node, args=(connection, around))
        with queue.transaction():
            queue.execute("LOCK TABLE workerctl.live")
            comes_in.start()
            waiting = "SELECT clock_timestamp() - query_start > interval '50 ms' FROM pg_stat_activity WHERE pid = %s"
            deadline = time.monotonic() + 10
            while queue.execute(waiting, [connection.info.backend_pid]).fetchone() != (True,):
                assert comes_in.is_alive() and time.monotonic() < deadline
                time.sleep(0.01)
        comes_in.join()
    assert queue.execute("SELECT id FROM workerctl.node").fetchall() == [("n",)]


def test_no_plan_of_ours_is_compiled(queue: psycopg.Connection[Any]) -> None:
    assert queue.execute("SHOW jit").fetchone() == ("off",)
    without = (  # before 18 a scan that is switched off costs so much that a server with JIT compiles it, for seconds
        "SELECT proname FROM pg_proc WHERE pronamespace = 'workerctl'::regnamespace"
        " AND 'enable_seqscan=off' = ANY (proconfig) AND NOT 'jit=off' = ANY (proconfig)"
    )
    assert queue.execute(without).fetchall() == [], "through a pooler, or of a producer of one's own"


def test_a_schema_that_was_made_for_a_role_is_enough_and_another_encoding_than_utf8_is_refused(
    embedded_server: Any,
) -> None:
    names = [f"test_{uuid.uuid4().hex[:12]}" for _ in range(2)]
    plain = urlsplit(embedded_server.server.url)
    with embedded_server.connect(superuser=True) as root:
        root.execute(f"CREATE DATABASE {names[0]}")
        provider = "LOCALE_PROVIDER libc" if root.info.server_version >= 150000 else ""
        latin = f"ENCODING 'LATIN1' {provider} LOCALE 'C'"
        root.execute(f"CREATE DATABASE {names[1]} OWNER workerctl TEMPLATE template0 {latin}")
        try:
            url = urlsplit(embedded_server.server.superuser_url)._replace(path=f"/{names[0]}").geturl()
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE SCHEMA workerctl AUTHORIZATION workerctl")
            with connect(plain._replace(path=f"/{names[0]}").geturl(), application="test") as connection:
                assert migrate(connection)
                assert enqueue("a", conn=connection) == 1
            with (
                connect(plain._replace(path=f"/{names[1]}").geturl(), application="test") as connection,
                pytest.raises(Unusable, match="is encoded in LATIN1; the queue needs one in UTF8"),
            ):
                migrate(connection)
        finally:
            for name in names:
                root.execute(f"DROP DATABASE {name} WITH (FORCE)")
