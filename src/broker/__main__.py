"""`python -m workerctl.broker`: brings the schema up to date, as the one-shot that `start` runs before the workers."""

from __future__ import annotations

import sys
import time

import psycopg
from setproctitle import setproctitle

from ..contract import Channel, Unreachable, WorkerctlError
from .connection import connect, is_away, refused, unreachable
from .fleet import Connection, NodeTaken, renew_this_node
from .migrate import be_patient, migrate
from .surroundings import Surroundings, surroundings

PAUSE_SECONDS = 0.25


def main() -> int:
    """Wait for the database, migrate, say what was done; the exit code of the process."""
    setproctitle("workerctl: migrations")
    channel = Channel.from_environment()
    try:
        for name in _migrate_when_up():
            sys.stdout.write(f"applied {name}\n")
    except WorkerctlError as error:
        sys.stderr.write(f"{error}\n")
        if channel is not None:
            channel.send({"type": "failed", "exit_code": error.exit_code, "message": str(error)})
        return error.exit_code
    return 0


def _migrate_when_up() -> list[str]:
    around = surroundings()
    give_up_at = time.monotonic() + around.settings.supervisor.boot_timeout_seconds
    while True:
        try:
            return _bring_up(around)
        except Unreachable:
            if time.monotonic() > give_up_at:
                raise
        time.sleep(PAUSE_SECONDS)


def _bring_up(around: Surroundings) -> list[str]:
    """Raises Unreachable where it may go better later, as with a standby, and Unusable where it will not."""
    url = around.database.url_direct
    try:
        with connect(url, application="migrations", bounded=False) as connection:
            applied = migrate(connection)
            _take_node(connection, around)
            return applied
    except psycopg.Error as error:
        if is_away(error):
            raise unreachable(url, error) from None
        raise refused(url, error) from None


def _take_node(connection: Connection, around: Surroundings) -> None:
    """This node is ours before any worker of it lives. Raises NodeTaken where another living home has its id.

    Who renews its lease no more was this home before the machine booted anew: 6 s after its last word it is ours.
    """
    seen = None
    while True:
        try:
            with connection.transaction():
                be_patient(connection)
                renew_this_node(connection, around)
            return
        except NodeTaken as error:
            if seen not in (None, error.renewed_at):
                raise
            seen = error.renewed_at
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
