"""Brings the schema up to date: numbered files, each once, all in one transaction under an advisory lock."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg

from ..contract import Unusable

_LOCK = 0x776F726B  # "work": any constant will do, as long as every version uses the same


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file; its checksum proves that it is still the one that was applied."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def migrations() -> list[Migration]:
    """Every migration that ships, in order."""
    files = sorted(
        (file for file in (resources.files(__package__) / "migrations").iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    return [Migration(int(file.name[:4]), file.name[:-4], file.read_text(encoding="utf-8")) for file in files]


def migrate(connection: psycopg.Connection[Any]) -> list[str]:
    """Apply what is missing and return the names; nothing is applied unless everything can be.

    Raises Unusable where the database holds a newer schema or another text of a migration than this version knows.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        missing = pending(connection)
        if missing:
            connection.execute("CREATE SCHEMA IF NOT EXISTS workerctl")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS workerctl.migration (version integer PRIMARY KEY, name text NOT NULL,"
                " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
            )
        for migration in missing:
            connection.execute(migration.text.encode())
            connection.execute(
                "INSERT INTO workerctl.migration (version, name, checksum) VALUES (%s, %s, %s)",
                [migration.version, migration.name, migration.checksum],
            )
    return [migration.name for migration in missing]


def pending(connection: psycopg.Connection[Any]) -> list[Migration]:
    """The migrations that this database has not seen. Raises Unusable as `migrate` does."""
    known = {migration.version: migration for migration in migrations()}
    for version, name, checksum in _applied(connection):
        if version not in known:
            raise Unusable(
                f"the database has migration {name}, which this version of workerctl does not know: upgrade workerctl"
            )
        if known[version].checksum != checksum:
            raise Unusable(f"migration {name} in the database differs from the one this version ships")
        del known[version]
    return list(known.values())


def _applied(connection: psycopg.Connection[Any]) -> list[tuple[int, str, str]]:
    if connection.execute("SELECT to_regclass('workerctl.migration')").fetchone() == (None,):
        return []
    return connection.execute("SELECT version, name, checksum FROM workerctl.migration ORDER BY version").fetchall()
