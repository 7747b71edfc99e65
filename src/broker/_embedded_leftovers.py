"""Processes that an earlier start left behind in a data folder: the only module here that signals any."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

POLL_SECONDS = 0.01

# (signal, to the postmaster alone, seconds to wait): a fast shutdown, an immediate one, the end
STEPS = ((signal.SIGINT, True, 5.0), (signal.SIGQUIT, False, 2.0), (signal.SIGKILL, False, 2.0))


def clear_leftovers(data: Path, socket_folder: Path | None) -> None:
    """Stop every server process that still lives in `data`, and remove locks that name a stranger.

    As root any living pid in a lock file makes PostgreSQL refuse, whoever has that pid by now. A lock with
    a dead pid stays: PostgreSQL judges it better, it also looks for shared memory still in use.
    """
    postmaster_lock = data / "postmaster.pid"
    locks = [postmaster_lock, *(socket_folder.glob(".s.PGSQL.*.lock") if socket_folder else ())]
    if not any(lock.exists() for lock in locks):
        return
    for number, postmaster_alone, wait_seconds in STEPS:
        left = servers_in(data)
        if not left:
            break
        postmaster = _pid_in(postmaster_lock)
        targets = [process for process in left if process.pid == postmaster] if postmaster_alone else left
        _signal_and_wait(targets, number, wait_seconds)
    if servers_in(data):
        return  # unkillable for now: the locks still say the truth, and PostgreSQL will say so
    for lock in locks:
        pid = _pid_in(lock)
        if pid is not None and psutil.pid_exists(pid):
            lock.unlink(missing_ok=True)


def servers_in(data: Path) -> list[psutil.Process]:
    """Living processes whose program is postgres and whose working folder is `data`."""
    return [process for process in psutil.process_iter() if _is_server_in(process, data)]


def _is_server_in(process: psutil.Process, data: Path) -> bool:
    try:
        return Path(process.exe()).name.startswith("postgres") and process.cwd() == str(data)
    except psutil.AccessDenied:
        return _is_named_so(process, data)
    except (psutil.Error, OSError):
        return False


def _is_named_so(process: psutil.Process, data: Path) -> bool:
    # root in a container without CAP_SYS_PTRACE sees only the command line of nobody's processes
    try:
        words = process.cmdline()
    except (psutil.Error, OSError):
        return False
    return bool(words) and Path(words[0]).name == "postgres" and str(data) in words


def _pid_in(lock: Path) -> int | None:
    try:
        return int(lock.read_text(errors="replace").split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _signal_and_wait(processes: Iterable[psutil.Process], number: signal.Signals, wait_seconds: float) -> None:
    left = list(processes)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)  # psutil refuses when the pid has become another process
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        left = [process for process in left if _is_alive(process)]
        if not left:
            return
        time.sleep(POLL_SECONDS)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
