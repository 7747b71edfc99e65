"""One supervisor per home, and none beside what an earlier one left: two advisory locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from ..contract import AlreadyRunning

LEAVING_SECONDS = 1.0


def take_lock(run: Path) -> int:
    """The descriptor that holds run/lock until this process ends. Raises AlreadyRunning with the holder's pid."""
    path = run / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LEAVING_SECONDS
    while not (held := try_lock(descriptor)) and time.monotonic() < deadline and not (run / "control.sock").exists():
        time.sleep(0.02)  # whoever holds the lock without a socket is about to leave, or has just begun
    if not held:
        pid = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise AlreadyRunning(f"already running as pid {pid} ({path}); see `workerctl status`")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def is_held(run: Path) -> bool:
    """Whether a supervisor holds this home."""
    try:
        descriptor = os.open(run / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def open_alive(run: Path) -> int:
    """The descriptor of run/alive, which our processes inherit; the lock on it outlives us in them."""
    return os.open(run / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
