"""Brings the schema up to date: numbered files, each once, in one transaction under an advisory lock, in two phases.

A file `0012_name.sql` is of the phase `pre`: it adds what newer code needs and older code does not mind, and is applied
by whoever starts, or reloads to another version. `0013_name.post.sql` takes away what older code still needs: the
primary applies it once no node and no worker of an older version lives. From then on code that does not know it is
refused.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal

import psycopg

from ..contract import Unusable
from .connection import statement

OLDEST_SERVER = 140000  # the oldest that the tests of the queue were run with
LOCK = 0x776F726B  # "work"; shared by whoever registers (0008), so that none comes in while older ones are looked for
Phase = Literal["pre", "post"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file; its checksum proves that it is still the one that was applied."""

    version: int
    name: str
    phase: Phase
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def migrations(folder: Traversable | None = None) -> list[Migration]:
    """Every migration that ships, or that is in `folder`, in order."""
    return [_read(file) for file in _files(folder)]


def newest() -> int:
    """The number of the newest migration that this version knows: what it says of itself when it registers."""
    return int(_shipped()[-1][:4])


def has_post() -> bool:
    """Whether any migration that ships takes something away."""
    return any(name.endswith(".post.sql") for name in _shipped())


def migrate(connection: psycopg.Connection[Any], folder: Traversable | None = None) -> list[str]:
    """Apply what of the phase `pre` is missing, into an empty database everything; returns the names.

    Raises Unusable where the schema has left this code behind, or holds another text of a migration than it knows.
    """
    with connection.transaction():
        be_patient(connection)
        missing = pending(connection, folder)
    if not any(migration.phase == "pre" for migration in missing):
        return []  # without the lock, for which those who register would have to wait, and we for them
    with connection.transaction():
        be_patient(connection)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        missing = pending(connection, folder)
        if len(missing) == len(migrations(folder)):
            _refuse_server(connection)
            if connection.execute("SELECT to_regnamespace('workerctl')").fetchone() == (
                None,
            ):  # else it may not be ours to make
                connection.execute("CREATE SCHEMA workerctl")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS workerctl.migration (version integer PRIMARY KEY, name text NOT NULL,"
                " phase text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
            return _apply(connection, missing)
        return _apply(connection, [migration for migration in missing if migration.phase == "pre"])


def finish_migrations(connection: psycopg.Connection[Any], folder: Traversable | None = None) -> list[str]:
    """Apply what of the phase `post` is missing, up to the first that an older node or worker keeps waiting."""
    with connection.transaction():
        be_patient(connection)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        missing = pending(connection, folder)
        oldest = connection.execute(statement("oldest_schema")).fetchone()
        ready: list[Migration] = []
        for migration in missing:
            if migration.phase == "pre" or (oldest and oldest[0] is not None and oldest[0] < migration.version):
                break
            ready.append(migration)
        return _apply(connection, ready)


def pending(connection: psycopg.Connection[Any], folder: Traversable | None = None) -> list[Migration]:
    """The migrations that this database has not seen. Raises Unusable as `migrate` does."""
    known = {migration.version: migration for migration in migrations(folder)}
    for version, name, phase, checksum in reversed(_applied(connection)):  # the newest is named first
        if version not in known:
            if phase == "post":
                raise Unusable(
                    f"the database has migration {name}, after which older code cannot work: upgrade workerctl"
                )
            continue  # newer code added what this one does not mind
        if known[version].checksum != checksum:
            raise Unusable(
                f"migration {name} in the database differs from the one this version ships: an unreleased version made "
                "it; take an empty database, or move an embedded one's folder (postgres/ in the home) aside"
            )
        del known[version]
    return list(known.values())


def be_patient(connection: psycopg.Connection[Any]) -> None:
    """In this transaction, whatever limits the role or the database has: migrations take as long as the tables ask."""
    limits = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    if connection.info.server_version >= 170000:
        limits.append("transaction_timeout")
    connection.execute("; ".join(f"SET LOCAL {limit} = 0" for limit in limits).encode())


def _refuse_server(connection: psycopg.Connection[Any]) -> None:
    """Better now than at the first function, or name, that the database cannot take. Raises Unusable."""
    if connection.info.server_version < OLDEST_SERVER:
        version = connection.info.parameter_status("server_version")
        raise Unusable(f"the database is PostgreSQL {version}; {OLDEST_SERVER // 10000} or later is needed")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise Unusable(
            f"the database {connection.info.dbname} is encoded in {encoding}; the queue needs one in UTF8: "
            "CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'"
        )


@functools.cache
def _shipped() -> tuple[str, ...]:
    return tuple(file.name for file in _files(None))


def _files(folder: Traversable | None) -> list[Traversable]:
    place = folder or resources.files(__package__) / "migrations"
    return sorted((file for file in place.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)


def _read(file: Traversable) -> Migration:
    name = file.name.removesuffix(".sql")
    phase: Phase = "post" if name.endswith(".post") else "pre"
    return Migration(int(name[:4]), name.removesuffix(".post"), phase, file.read_text(encoding="utf-8"))


def _apply(connection: psycopg.Connection[Any], wanted: list[Migration]) -> list[str]:
    for migration in wanted:
        connection.execute(migration.text.encode())
        connection.execute(
            "INSERT INTO workerctl.migration (version, name, phase, checksum) VALUES (%s, %s, %s, %s)",
            [migration.version, migration.name, migration.phase, migration.checksum],
        )
    return [migration.name for migration in wanted]


def _applied(connection: psycopg.Connection[Any]) -> list[tuple[int, str, str, str]]:
    if connection.execute("SELECT to_regclass('workerctl.migration')").fetchone() == (None,):
        return []
    return connection.execute(
        "SELECT version, name, phase, checksum FROM workerctl.migration ORDER BY version"
    ).fetchall()
