"""The only module that signals and reaps processes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_ENDED_KEPT = 512


class Ended(msgspec.Struct, frozen=True):
    """A child that was reaped: its exit code, or the signal that killed it."""

    pid: int
    code: int | None
    signal: int | None


def become_subreaper() -> None:
    """From now on the orphans of our descendants are our children. Linux only; elsewhere nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(number)}")


def leave_with_parent(stop_signal: str) -> Callable[[], None] | None:
    """What a forked child does before it execs a program that has no channel: it is asked to leave when we die.

    Not for workers: the signal fires when the thread that forked them ends, which is their intermediate's.
    """
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    libc, number, parent = ctypes.CDLL(None), int(signal.Signals[stop_signal]), os.getpid()

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died meanwhile
            os._exit(1)

    return before_exec


class Processes:
    """Our children. A pid is signalled only between `know` and its reaping, so that it is never somebody else's."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._sessions: dict[int, None] = {}  # of children that ended: whoever is left in them is killed

    def know(self, pid: int) -> None:
        self._known.add(pid)
        self._sessions.pop(pid, None)

    def forget(self, pid: int) -> None:
        self._known.discard(pid)

    def send(self, pid: int, number: signal.Signals) -> None:
        """Nothing happens where this is no living child of ours."""
        if pid in self._known:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def kill(self, pid: int) -> None:
        """The process and its group, at once."""
        if pid in self._known:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            self.send(pid, signal.SIGKILL)

    def reap(self, before: Callable[[int], None] = lambda _: None) -> Iterator[Ended]:
        """Every child that has ended, orphans included. What is left of its session is killed first.

        `before` is called with the pid while nobody else can have it yet.
        """
        while (pid := self._next_ended()) is not None:
            before(pid)
            if pid in self._known:
                self._kill_group_of(pid)
            result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
            if result is None:
                return
            self._known.discard(pid)
            self._kill_left_over()
            exited = result.si_code == os.CLD_EXITED
            yield Ended(pid, result.si_status if exited else None, None if exited else result.si_status)

    def is_child(self, pid: int) -> bool:
        """Whether this pid is a child of ours that was not reaped."""
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def sweep(self, patience_seconds: float = 2.0) -> None:
        """Kill and reap whatever children are left, orphans that left their session included."""
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            children = _children()
            for pid in children:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for _ in self.reap():
                pass
            if not children:
                return
            time.sleep(0.005)  # SIGKILL is on its way; the loop has ended, nobody waits for us but the user

    def _next_ended(self) -> int | None:
        try:
            result = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        return None if result is None else result.si_pid

    def _kill_group_of(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self._sessions[pid] = None
        if len(self._sessions) > _ENDED_KEPT:
            del self._sessions[next(iter(self._sessions))]

    def _kill_left_over(self) -> None:
        """Orphans of an ended child that made a process group of their own, as shells do."""
        for pid in _children():
            if pid in self._known:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) in self._sessions:
                    os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    """Pids of our living and unreaped children, as far as the operating system tells."""
    path = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    try:
        return [int(pid) for pid in path.read_text().split()]
    except OSError:
        return []
