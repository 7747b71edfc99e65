"""The only module that takes signals: which arrived, and who sent them where the system tells that."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

import msgspec

NAMED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # whose sender somebody may ask for
OTHERS = (signal.SIGCHLD, signal.SIGUSR1)
RECORD_BYTES = 128  # of struct signalfd_siginfo: signal, errno and code, pid, uid, four bytes each


class Arrived(msgspec.Struct, frozen=True):
    """A signal; without a pid where nobody knows who sent it, or the kernel itself did, as for Ctrl-C."""

    number: int
    pid: int | None = None
    uid: int | None = None
    by_kernel: bool = False  # from a terminal


class Signals:
    """Signals as something to read: `descriptors` are readable when one has arrived, `take` gives all.

    A handler that does nothing lets Python write the number into a pipe. Where there is a signalfd (Linux) those whose
    sender matters are blocked and read from there. Several of one kind that arrive before they are read are one then.
    """

    def __init__(self) -> None:
        self._pipe, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (*NAMED, *OTHERS):
            signal.signal(number, lambda *_: None)
        self._records = _signalfd()
        if self._records is not None:
            signal.pthread_sigmask(signal.SIG_BLOCK, NAMED)

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self._pipe,) if self._records is None else (self._pipe, self._records)

    def take(self) -> list[Arrived]:
        """Whatever has arrived since the last time."""
        found = []
        if self._records is not None:
            with contextlib.suppress(BlockingIOError):
                content = os.read(self._records, 32 * RECORD_BYTES)
                found = [_arrived(content[at:][:RECORD_BYTES]) for at in range(0, len(content), RECORD_BYTES)]
        with contextlib.suppress(BlockingIOError):
            found += [Arrived(number) for number in os.read(self._pipe, 4096)]
        return found

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        for descriptor in (*self.descriptors, self._writer):
            os.close(descriptor)


@contextlib.contextmanager
def let_through() -> Iterator[None]:
    """While a child is started: it would inherit what is blocked, over every exec, and never hear of a stop.

    What arrives meanwhile finds its handler; only who sent it is not known then.
    """
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, NAMED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signalfd() -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    mask = (ctypes.c_uint64 * 16)(sum(1 << (number - 1) for number in NAMED))
    descriptor: int = ctypes.CDLL(None).signalfd(-1, mask, os.O_NONBLOCK | os.O_CLOEXEC)
    return descriptor if descriptor >= 0 else None


def _arrived(record: bytes) -> Arrived:
    number, _, code, pid, uid = (int.from_bytes(record[at : at + 4], sys.byteorder) for at in range(0, 20, 4))
    by_kernel = 0 < code < 1 << 31  # the kernel's codes are above 0, those of kill() and its kin 0 or below
    return Arrived(number, by_kernel=True) if by_kernel else Arrived(number, pid, uid)
