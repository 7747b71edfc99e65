"""Asks the database and the storage for `doctor`; leaves nothing behind in either."""

from __future__ import annotations

import secrets
import time
from typing import Any

import psycopg

from ..broker.connection import connect, place, statement
from ..broker.found import Database, configured, find_database
from ..broker.migrate import pending
from ..contract import NotRunning, Unusable, WorkerctlError
from ..settings import Loaded
from .doctor_facts import DatabaseState, Snapshot, StorageState, Unserved

RING_SECONDS = 1.0
PROBE_CONTENT = b"workerctl doctor"

OLDEST_SNAPSHOT = """
SELECT pid, application_name, coalesce(usename::text, ''), coalesce(state, ''),
       extract(epoch FROM clock_timestamp() - coalesce(xact_start, query_start))::double precision
  FROM pg_stat_activity
 WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
 ORDER BY age(backend_xmin) DESC, xact_start
 LIMIT 1
"""
CONNECTIONS = """
SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer,
       (SELECT count(*) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND application_name NOT LIKE 'workerctl%')::integer
"""
MAY_MIGRATE = """
SELECT CASE WHEN to_regnamespace('workerctl') IS NULL THEN has_database_privilege(current_database(), 'CREATE')
            ELSE has_schema_privilege('workerctl', 'CREATE') END
"""
WRITE = "CREATE TEMP TABLE workerctl_doctor ON COMMIT DROP AS SELECT n FROM generate_series(1, 5000) AS n"  # 23 pages


def ask_database(found: Loaded) -> DatabaseState:
    """What it answers; a database that does not is a fact too."""
    named = configured(found.settings)
    try:
        database = named or find_database(found)
    except NotRunning:
        return DatabaseState("", embedded=True, pooled=False, has_direct=False, running=False)
    except WorkerctlError as error:
        return DatabaseState("", embedded=True, pooled=False, has_direct=False, problem=str(error))
    known: dict[str, Any] = {
        "place": "",
        "embedded": named is None,
        "pooled": database.pooled,
        "has_direct": database.url_direct != database.url,
    }
    try:
        known["place"] = place(database.url)
        return DatabaseState(**known, **_answers(database))
    except WorkerctlError as error:
        return DatabaseState(**known, problem=str(error))
    except psycopg.Error as error:
        return DatabaseState(**known, problem=f"database at {known['place']} answered: {str(error).splitlines()[0]}")


def ask_storage(found: Loaded) -> StorageState:
    """One probe object, written, read and deleted."""
    from ..storage import open_storage

    url, key = found.settings.storage.url, f"workerctl-doctor/{secrets.token_hex(8)}"
    since = time.monotonic()
    try:
        storage = open_storage(found.settings.storage, found.home)
        storage.put(key, PROBE_CONTENT)
        try:
            if storage.get(key) != PROBE_CONTENT:
                return StorageState(url, problem=f"{url}: what was read is not what was written")
        finally:
            storage.delete(key)
    except WorkerctlError as error:
        return StorageState(url, problem=str(error))
    return StorageState(url, seconds=time.monotonic() - since)


def _answers(database: Database) -> dict[str, Any]:
    with connect(database.url, application="doctor", pooled=database.pooled) as connection:
        before = time.time()
        [now] = _row(
            connection, "SELECT extract(epoch FROM clock_timestamp())"
        )  # a float could be rounded by a setting
        after = time.time()
        [version] = _row(connection, "SHOW server_version")
        [number] = _row(connection, "SELECT current_setting('server_version_num')::integer")
        allowed, used = _row(connection, CONNECTIONS)
        oldest = connection.execute(OLDEST_SNAPSHOT).fetchone()
        write_problem = _write_problem(connection)
    only_pooled = database.pooled and database.url_direct == database.url
    with connect(database.url_direct, application="doctor", pooled=only_pooled) as direct:
        missing, schema_problem = _schema(direct)
        unserved = [] if missing or schema_problem else direct.execute(statement("unserved")).fetchall()
        ring_seconds = None if only_pooled else _ring_seconds(direct)
    return {
        "version": str(version).split()[0],
        "version_number": number,
        "max_connections": allowed,
        "used_connections": used,
        "oldest": None if oldest is None else Snapshot(*oldest),
        "skew_seconds": float(now) - (before + after) / 2,
        "round_trip_seconds": after - before,
        "pending": missing,
        "schema_problem": schema_problem,
        "write_problem": write_problem,
        "unserved": tuple(Unserved(*row) for row in unserved),
        "ring_seconds": ring_seconds,
    }


def _write_problem(connection: psycopg.Connection[Any]) -> str:
    """Why a new table gets no room; empty where it does, or where making one is not for us."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(WRITE)
    except psycopg.errors.InsufficientPrivilege:
        return ""
    except psycopg.Error as error:
        return str(error).splitlines()[0]
    return ""


def _schema(connection: psycopg.Connection[Any]) -> tuple[tuple[str, ...], str]:
    try:
        missing = tuple(migration.name for migration in pending(connection) if migration.phase == "pre")
    except Unusable as error:
        return (), str(error)
    [allowed] = _row(connection, MAY_MIGRATE)
    return missing, "" if allowed or not missing else f"the role {connection.info.user} may not make it"


def _ring_seconds(connection: psycopg.Connection[Any]) -> float | None:
    """Seconds until we hear ourselves on a channel of our own; None: not within the limit, as through a pooler."""
    channel = f"workerctl_doctor_{secrets.token_hex(8)}"
    connection.execute(f"LISTEN {channel}")
    since = time.monotonic()
    connection.execute("SELECT pg_notify(%s, '')", [channel])
    for _ in connection.notifies(timeout=RING_SECONDS, stop_after=1):
        return time.monotonic() - since
    return None


def _row(connection: psycopg.Connection[Any], query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return tuple(row)
