"""What handlers write: whole lines on standard output and error that say, out of band, whose job they are."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, TextIO

from ..broker.exchange import Claimed
from ..settings import LogsSettings

running_job: ContextVar[Claimed | None] = ContextVar("running_job", default=None)

HALF_LINE_SECONDS = 0.005  # so long others wait for somebody to go on with a half line; then they end it
TURN_SECONDS = 0.5  # and so long at most, however many lines come in between
PIECE_BYTES = 4096  # a pipe that has room takes so much at once (PIPE_BUF)
MARK = b"\x1e"  # the collector knows it: src/logs/lines.py
_NO_MARK = "\N{SYMBOL FOR RECORD SEPARATOR}".encode()
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
_CHATTY = ("httpx", "httpcore", "botocore", "boto3", "urllib3", "s3transfer", "PIL")

_own: list[TextIO] = []  # standard error as it was when it was marked
_pipes: list[_MarkedPipe] = []


def write_to_stderr(text: str) -> None:
    """What workerctl itself has to say of a job; whatever became of `sys.stderr`, the caller goes on."""
    with contextlib.suppress(OSError, ValueError):
        stream = own_stderr()
        stream.write(text)
        stream.flush()


def own_stderr() -> TextIO:
    """Standard error where a handler has put something else in its place, too."""
    return _own[0] if _own else sys.stderr


def log_to_stderr(settings: LogsSettings | None = None) -> None:
    """Mark what is written from now on, and send the standard library's logging to stderr.

    What the user's modules configured keeps its handlers, formats and levels; where these write to standard output
    or error, they write marked lines. Marks are for the collector: nothing is marked where no pipe leads to it.
    """
    level = _LEVELS[(settings or LogsSettings()).level]
    replaced = {old: _marked(name) for name, old in (("stdout", sys.stdout), ("stderr", sys.stderr))}
    _own[:] = [sys.stderr]
    for handler in _stream_handlers():
        new = replaced.get(handler.stream)
        if new is not None:
            handler.setStream(new)
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JobFormatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(level)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


def take_pipes(out: int, err: int) -> None:
    """Standard output and error of this process, a fork, are these pipes from now on."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    for pipe in _pipes:
        pipe.follow()


class _JobFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        job = running_job.get()
        prefix = f"[job {job.id} {job.kind}] " if job is not None else ""
        return f"{record.levelname} {record.name}: {prefix}{super().format(record)}"


def offer(lines: deque[bytes]) -> None:
    """Write whole lines, marks included, to standard error from the left, as far as it takes them without waiting."""
    pipe = getattr(own_stderr(), "buffer", None)
    if isinstance(pipe, _MarkedPipe):
        pipe.offer(lines)
        return
    while lines:
        line = lines.popleft()
        text = line.partition(b" ")[2] if line.startswith(MARK) else line
        write_to_stderr(text.decode(errors="replace"))


def mark(job: Claimed) -> bytes:
    """What a line of this job begins with on its way to the collector."""
    return b"%bjob=%d/%b " % (MARK, job.id, column(job.kind))


class _MarkedPipe(io.RawIOBase):
    """A standard stream whose lines are marked with the job that runs in the writer's context.

    Every piece is written at once, so that last words are kept. A half line belongs to its writer: others wait
    for its end for a moment and then end it, so that no line is of two jobs.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._standard = descriptor
        self._descriptor = os.dup(descriptor)  # of our own: what a handler closes, others still write to
        self._renew()
        os.register_at_fork(after_in_child=self._renew)  # another thread may have held the lock

    def _renew(self) -> None:
        self._turn = threading.Condition(threading.Lock())
        self._owner: Any = None  # of the half line that stands in the pipe
        self._owner_thread = 0
        self._owned_since = 0.0
        self._ended_by_others: set[Any] = set()

    def follow(self) -> None:
        """Go where the standard descriptor leads now."""
        os.dup2(self._standard, self._descriptor, inheritable=False)

    def fileno(self) -> int:
        return self._standard

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """It stays open: what one job closes, all others and the worker itself write to."""

    def write(self, content: Any, /) -> int:
        text = bytes(content)
        job = running_job.get()
        thread = threading.get_ident()
        owner = ("thread", thread) if job is None else ("job", job.id)
        with self._turn:
            self._wait_for_the_line(owner, thread)
            self._write_piece(owner, thread, text, mark(job) if job is not None else b"")
        return len(text)

    def offer(self, lines: deque[bytes]) -> None:
        """Write whole lines from the left as far as the pipe takes them without waiting, and nobody is writing."""
        if not self._turn.acquire(blocking=False):
            return
        try:
            if self._owner is not None and time.monotonic() < self._owned_since + HALF_LINE_SECONDS:
                return
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            while lines and poll.poll(0):
                piece, size_bytes = [], 1
                while lines and size_bytes + len(lines[0]) <= PIECE_BYTES:
                    size_bytes += len(lines[0])
                    piece.append(lines.popleft())
                if not piece:
                    lines.popleft()  # longer than any line that is made here
                self._end_half_line()
                self._send(b"".join(piece))
        finally:
            self._turn.release()

    def _wait_for_the_line(self, owner: Any, thread: int) -> None:
        if self._owner is None or self._owner == owner:
            return
        until = time.monotonic() + TURN_SECONDS
        while self._owner not in (None, owner) and self._owner_thread != thread:
            left = min(self._owned_since + HALF_LINE_SECONDS, until) - time.monotonic()
            if left <= 0:
                break
            self._turn.wait(left)
        if self._owner != owner:
            self._end_half_line()

    def _end_half_line(self) -> None:
        if self._owner is not None:
            self._send(b"\n")
            if len(self._ended_by_others) > 1000:
                self._ended_by_others.clear()
            self._ended_by_others.add(self._owner)
            self._owner = None

    def _write_piece(self, owner: Any, thread: int, text: bytes, marked: bytes) -> None:
        if owner in self._ended_by_others:
            self._ended_by_others.discard(owner)
            if self._owner is None and text.startswith(b"\n"):
                text = text[1:]
        if not text:
            return
        if MARK in text:
            text = text.replace(MARK + b"job=", _NO_MARK + b"job=")  # nobody writes in another's name
        whole = text.endswith(b"\n")
        if marked:
            body = text[:-1] if whole else text
            text = (b"" if self._owner else marked) + body.replace(b"\n", b"\n" + marked) + (b"\n" if whole else b"")
        self._send(text)
        self._owner, self._owner_thread = (None, 0) if whole else (owner, thread)
        if whole:
            self._turn.notify_all()
        else:
            self._owned_since = time.monotonic()

    def _send(self, content: bytes) -> None:
        while content:
            content = content[os.write(self._descriptor, content) :]


def _marked(name: str) -> TextIO:
    """Replace a standard stream by a marked one; the old one where it is not ours to replace."""
    old: TextIO = getattr(sys, name)
    if old is not getattr(sys, f"__{name}__") or not stat.S_ISFIFO(os.fstat(old.fileno()).st_mode):
        return old
    old.flush()
    pipe: Any = _MarkedPipe(old.fileno(), old.name)
    _pipes.append(pipe)
    new = io.TextIOWrapper(pipe, encoding=old.encoding, errors=old.errors, newline="\n", write_through=True)
    setattr(sys, name, new)
    return new


def _stream_handlers() -> list[logging.StreamHandler[Any]]:
    loggers: Iterable[Any] = (logging.getLogger(), *logging.getLogger().manager.loggerDict.values())
    handlers = {handler for each in loggers for handler in getattr(each, "handlers", ())}
    return [handler for handler in handlers if isinstance(handler, logging.StreamHandler)]


@lru_cache(maxsize=1024)
def column(kind: str) -> bytes:
    """A kind without what would end its column."""
    return re.sub(r"[\x00-\x20%\x7f]", lambda found: f"%{ord(found[0]):02X}", kind).encode(errors="replace")


@lru_cache(maxsize=1024)
def encoded(text: str) -> bytes:
    """What UTF-8 cannot say of it becomes a question mark."""
    return text.encode(errors="replace")
