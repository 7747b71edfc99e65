"""The embedded server's folder: passwords, address, settings and the first initialisation."""

from __future__ import annotations

import functools
import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..contract import Unusable, WorkerctlError
from ._embedded_way import How, Way, write_how

SUPERUSER = "postgres"  # ours alone: jobs, CLI and producers use the role
ROLE = "workerctl"  # no superuser; owns the database of the same name
SOCKET_PORT = 5432  # only names the socket file; nothing listens on it
SOCKET_PATH_LIMIT_BYTES = 107  # sun_path less its final zero

PG_HBA = """\
# TYPE  DATABASE  USER  ADDRESS  METHOD
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""

SETTINGS = """\
# Written by workerctl at every start. Your own settings: ALTER SYSTEM as the superuser; they win.
listen_addresses = '{listen}'
port = {port}
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = 64MB
huge_pages = off
effective_cache_size = 512MB
work_mem = 8MB
maintenance_work_mem = 64MB
max_worker_processes = 4
max_parallel_workers_per_gather = 0
max_logical_replication_workers = 0
jit = off
random_page_cost = 1.1
fsync = on
synchronous_commit = on
min_wal_size = 80MB
max_wal_size = 512MB
autovacuum_naptime = 10s
autovacuum_max_workers = 2
logging_collector = off
log_destination = 'stderr'
log_min_messages = warning
log_checkpoints = off
timezone = 'UTC'
log_timezone = 'UTC'
"""
SETTINGS_SINCE_18 = "io_method = sync\n"  # worker, the default, keeps three more processes


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens: a socket folder, or 127.0.0.1 when there is none."""

    socket_folder: Path | None
    port: int

    @property
    def host(self) -> str:
        return str(self.socket_folder) if self.socket_folder else "127.0.0.1"

    def url(self, user: str, password: str, database: str = ROLE) -> str:
        if self.socket_folder:
            folder = quote(self.host, safe="")
            return f"postgresql://{user}:{password}@/{database}?host={folder}&port={self.port}"
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"


def environment() -> dict[str, str]:
    """What PostgreSQL's programs get: our way to programs and libraries, plain English; no PG*, no DATABASE_URL."""
    ours = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD")
    kept = {name: os.environ[name] for name in ours if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def password(path: Path) -> str:
    """The password in `path`, made on first use (0600); a second process at the same time gets the same."""
    if not path.exists():
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return path.read_text()


def choose_address(home: Path, folder: Path, how: How, is_running: Callable[[], bool]) -> Address:
    """A unix socket where its path fits and libpq can name it, else 127.0.0.1 and a recorded free port.

    `is_running` says whether a server of this folder runs: then a recorded port that is taken is its own.
    """
    socket_folder = folder / "run" if how.way is Way.NOBODY else home / "run"
    path = socket_folder / f".s.PGSQL.{SOCKET_PORT}"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT_BYTES and "," not in str(path):  # libpq splits at commas
        return Address(socket_folder, SOCKET_PORT)
    recorded = folder / "port"
    if recorded.exists():
        port = int(recorded.read_text())
        if _is_free(port) or is_running():
            return Address(None, port)
    port = _free_port()
    recorded.write_text(str(port))
    return Address(None, port)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does: TIME_WAIT is no holder
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def major_version(bin_folder: Path) -> int:
    """The major version of the binaries; Unusable when they do not run here."""
    try:
        printed = subprocess.run(
            [bin_folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
    except OSError as error:
        raise Unusable(
            f"{bin_folder / 'postgres'} does not run here ({error.strerror}): "
            "set postgres_bin to the bin folder of a PostgreSQL, or set DATABASE_URL"
        ) from error
    found = re.search(r"(\d+)", printed.stdout)
    if printed.returncode != 0 or found is None:
        raise Unusable(
            f"{bin_folder / 'postgres'} does not run here ({_last_line(printed.stderr)}): "
            "set postgres_bin to the bin folder of a PostgreSQL, or set DATABASE_URL"
        )
    return int(found[1])


def initialise(folder: Path, bin_folder: Path, major: int, how: How, lock_fd: int) -> None:
    """Make `folder`/data with role and database; it appears complete or not at all.

    The programs inherit the lock, so that one which outlives us keeps the next start waiting.
    Raises WorkerctlError with the program's last line when one fails.
    """
    new = folder / "data.new"
    if new.exists():
        shutil.rmtree(new)
    new.mkdir()
    how.give(new, 0o700)
    run = functools.partial(_run, how=how, lock_fd=lock_fd)
    basics = ["-U", SUPERUSER, "-E", "UTF8", "--auth=reject", "--no-instructions"]
    run([bin_folder / "initdb", "-D", new, *basics, *_locale(major)])
    (new / "pg_hba.conf").write_text(PG_HBA)
    statements = [
        f"ALTER ROLE {SUPERUSER} PASSWORD '{password(folder / 'password')}';",
        f"CREATE ROLE {ROLE} LOGIN PASSWORD '{password(folder / 'role-password')}';",
        f"CREATE DATABASE {ROLE} OWNER {ROLE};",
    ]
    # a failing statement would be logged with its password
    options = ["--exit_on_error=on", "--log_min_error_statement=panic", "--password_encryption=scram-sha-256"]
    if major >= 16:  # our passwords are 192 random bits, which need no stretching: 3 ms less for each connection
        options.append("--scram_iterations=1")
    single: list[str | Path] = [bin_folder / "postgres", "--single", "-D", new, *options, "postgres"]
    run(single, statements="\n".join(statements) + "\n")
    write_how(folder, how)
    new.rename(folder / "data")
    parent = os.open(folder, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)


def _locale(major: int) -> list[str]:
    if major < 17:
        return ["--locale=C.UTF-8"]
    # PostgreSQL's own: the same on every OS, and no upgrade of libc reorders an index
    return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]


def _run(command: Sequence[str | Path], how: How, lock_fd: int, statements: str = "") -> None:
    done = subprocess.run(
        [*how.prefix(), *command],
        input=statements,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment(),
        cwd="/",
        pass_fds=[lock_fd],
        check=False,
        **how.identity(),
    )
    if done.returncode != 0:
        name = Path(command[0]).name
        raise WorkerctlError(f"{name} failed with exit code {done.returncode}: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def write_settings(folder: Path, address: Address, how: How, major: int) -> None:
    """Replace data/postgresql.conf with ours, in one step."""
    # a list setting inside a quoted value: quotes of both kinds are doubled
    listed = '"' + str(address.socket_folder).replace('"', '""') + '"' if address.socket_folder else ""
    text = SETTINGS.format(
        listen="" if address.socket_folder else "127.0.0.1",
        port=address.port,
        socket_folder=listed.replace("\\", "\\\\").replace("'", "''"),
    )
    partial = folder / "data" / "postgresql.conf.partial"
    partial.write_text(text + (SETTINGS_SINCE_18 if major >= 18 else ""))
    how.give(partial, 0o600)
    partial.replace(folder / "data" / "postgresql.conf")
