"""The log collector: reads the workers' pipes and writes whole lines, whatever the workers and the disk do."""

from __future__ import annotations

import os
import select
import selectors
import signal
import time
from typing import Any, NamedTuple

from ..contract import ENV_ALIVE, Channel, ChannelClosed, next_beat
from .file import LogFile
from .outlet import PATIENCE_SECONDS, Outlet
from .shelf import Shelf
from .stream import Numbering, Stream

READ_BYTES = 64 * 1024
_LAST_READS = 16  # of one pipe when hurried: as much as a pipe holds at most
_LAST_LINE_SECONDS = 0.1  # for all the half lines that are being written when hurried; then they are lines
_LAST_LINE_BYTES = 8192  # of one of them


class Rotation(NamedTuple):
    """When a file is rotated and what is kept of it; ages and totals of 0 are no limit."""

    max_size_bytes: int
    keep: int
    max_age_seconds: float = 0.0
    compress: bool = False
    max_total_bytes: int = 0


class Collector:
    """Follows streams that arrive over the channel until asked to leave and every stream has ended.

    A block that was read is on its way to the disk before another is read. So a collector that is killed loses one
    block of one stream at most (64 KiB); half lines are noted beside the log and completed by its successor.
    """

    def __init__(self, channel: Channel, directory: str, rotation: Rotation) -> None:
        self._channel: Channel | None = channel
        self._directory = directory
        self._rotation = rotation
        self._shelf = Shelf(
            directory, rotation.keep, compress=rotation.compress, max_total_bytes=rotation.max_total_bytes
        )
        self._selector = selectors.DefaultSelector()
        self._outlet = Outlet(
            pause=self._pause,
            resume=self._read_on,
            let_go=lambda file: self._close_if_unused(file),
        )
        self._streams: dict[str, Stream] = {}
        self._numberings: dict[int, Numbering] = {}
        self._files: dict[str, LogFile] = {}
        self._signals_fd = _catch_signals()
        self._leaving = self._reopening = False
        self._beat_at = 0.0
        self._terms = 0

    def run(self) -> None:
        """Serve until SIGTERM or the channel's end, and then until every stream has ended.

        A second SIGTERM reads what the pipes hold and leaves, each stream at the end of a line where one comes at
        once; else its half line becomes a line. SIGUSR1 reopens the files; SIGINT is ignored.
        """
        self._selector.register(self._signals_fd, selectors.EVENT_READ, self._on_signals)
        self._selector.register(self._channel, selectors.EVENT_READ, self._on_channel)  # type: ignore[arg-type]
        self._send({"type": "ready"})
        while self._terms < 2 and (self._streams or not self._leaving):
            for key, _ in self._selector.select(self._timeout_seconds()):
                key.data()
            self._mind_the_disk()
            self._beat(time.monotonic())
        until = time.monotonic() + _LAST_LINE_SECONDS
        for stream in list(self._streams.values()):
            self._read_what_is_there(stream)
            self._complete_the_line(stream, until)
            self._write_last_words(stream)  # of ours: the stream has not ended, the next collector goes on reading
            if stream.refused:
                self._outlet.hurry(stream)
        self._mind_the_disk(PATIENCE_SECONDS)

    def _timeout_seconds(self) -> float | None:
        if (pause := self._outlet.pause_seconds()) is not None:
            return pause
        return None if self._channel is None else max(0.0, self._beat_at - time.monotonic())

    def _beat(self, now: float) -> None:
        """Without this the supervisor takes us for hung; the disk may hang, we do not."""
        if now >= self._beat_at:
            self._beat_at = next_beat(now)
            self._send({"type": "heartbeat"})

    def _on_signals(self) -> None:
        for number in os.read(self._signals_fd, 512):
            if number == signal.SIGUSR1:
                self._reopen()
            elif number == signal.SIGTERM:
                self._terms += 1
                self._leaving = True

    def _on_channel(self) -> None:
        assert self._channel is not None
        self._channel.flush()
        self._watch_channel()
        try:
            messages = self._channel.receive()
        except ChannelClosed:
            self._selector.unregister(self._channel)
            self._channel.close()
            self._channel = None
            self._leaving = True
            _let_go_of_alive()
            return
        for message in messages:
            if message.get("type") == "follow":
                self._follow(message)
            elif message.get("type") == "reopen":
                self._reopen()

    def _follow(self, message: dict[str, Any]) -> None:
        name, fds = str(message["stream"]), message.get("fds", [])
        if name in self._streams or not fds:
            for fd in fds:
                os.close(fd)
            return
        os.set_blocking(fds[0], False)
        os.set_inheritable(fds[0], False)
        numbering = self._numberings.setdefault(message["serial"], Numbering(message["serial"]))
        path = f"{self._directory}/{message['group']}-{message['slot']}.{message['name']}.log"
        stream = self._streams[name] = Stream(name, fds[0], self._file(path), numbering)
        self._listen(stream)

    def _listen(self, stream: Stream) -> None:
        self._selector.register(stream.fd, selectors.EVENT_READ, lambda: self._read(stream))

    def _file(self, path: str) -> LogFile:
        rotation = self._rotation
        new = LogFile(path, self._shelf, rotation.max_size_bytes, rotation.max_age_seconds)
        return self._files.setdefault(path, new)

    def _read(self, stream: Stream) -> None:
        try:
            block = os.read(stream.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            block = b""
        if block:
            self._take(stream, block)
        else:
            self._end(stream)

    def _read_what_is_there(self, stream: Stream) -> None:
        for _ in range(_LAST_READS):
            try:
                block = os.read(stream.fd, READ_BYTES)
            except OSError:
                return
            if not block:
                return
            self._take(stream, block)

    def _complete_the_line(self, stream: Stream, until: float) -> None:
        """Byte by byte, so that the successor begins with a whole line; a quiet writer is not waited for."""
        poll, piece = select.poll(), b""
        poll.register(stream.fd, select.POLLIN)
        while stream.cutter.held and not piece.endswith(b"\n") and len(piece) < _LAST_LINE_BYTES:
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                break
            try:
                byte = os.read(stream.fd, 1)
            except OSError:
                break
            if not byte:
                break
            piece += byte
        if piece:
            self._take(stream, piece)

    def _take(self, stream: Stream, block: bytes) -> None:
        lines = stream.cutter.feed(block)
        if not lines or self._outlet.write(stream, lines):
            stream.keep_half(grown=not lines)

    def _mind_the_disk(self, patience_seconds: float = 0.0) -> None:
        """Try again what the disk refused, and say what was lost."""
        if not self._outlet.settle(patience_seconds):
            return
        if self._reopening:
            self._reopen()
        self._outlet.retry()

    def _pause(self, stream: Stream) -> None:
        self._selector.unregister(stream.fd)

    def _read_on(self, stream: Stream) -> None:
        """What the disk had refused is written or lost."""
        if stream.ended:
            self._forget(stream)
        else:
            self._listen(stream)

    def _write_last_words(self, stream: Stream) -> None:
        last_words = stream.cutter.last_words()
        if last_words:
            self._outlet.write(stream, last_words)

    def _end(self, stream: Stream) -> None:
        self._write_last_words(stream)
        stream.ended = True
        if not stream.refused:  # else as soon as that is written or lost
            self._selector.unregister(stream.fd)
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        stream.close()
        del self._streams[stream.name]
        others = self._streams.values()
        if not any(other.numbering is stream.numbering for other in others):
            del self._numberings[stream.numbering.serial]
        self._close_if_unused(stream.file)
        self._send({"type": "stream-ended", "stream": stream.name})

    def _close_if_unused(self, file: LogFile) -> None:
        used = any(stream.file is file for stream in self._streams.values())
        if not used and self._outlet.has_let_go_of(file):
            self._files.pop(file.path, file).close()

    def _reopen(self) -> None:
        self._reopening = self._outlet.hangs  # then as soon as it does not
        if not self._reopening:
            for file in self._files.values():
                file.close()

    def _send(self, message: dict[str, Any]) -> None:
        if self._channel is not None:
            self._channel.send(message)
            self._watch_channel()

    def _watch_channel(self) -> None:
        assert self._channel is not None
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._channel.wants_write else 0)
        self._selector.modify(self._channel, wanted, self._on_channel)


def _catch_signals() -> int:
    """A descriptor that gives the numbers of signals; a handler that did more could cut a write in two."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda _number, _frame: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return reading


def _let_go_of_alive() -> None:
    """The supervisor is dead. An embedded PostgreSQL lives on until the next one stops it, and we read it to its end;
    the next one waits for run/alive, so we must not hold it.
    """
    number = os.environ.pop(ENV_ALIVE, None)
    if number is not None:
        os.close(int(number))
