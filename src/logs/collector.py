"""The log collector: reads the workers' pipes and writes whole lines, whatever the workers do."""

from __future__ import annotations

import os
import selectors
import signal
import time
from typing import Any

from ..contract import Channel, ChannelClosed
from .file import LogFile
from .lines import LineCutter, stamp
from .resume import last_sequence

READ_BYTES = 64 * 1024
_LAST_READS = 16  # of one pipe when hurried: as much as a pipe holds at most
_RECOVERY_SECONDS = 1.0  # how often a full disk is tried again for the sake of the notice alone


class _Writer:
    """Numbers one worker process's lines over both its streams."""

    __slots__ = ("_next_sequence", "serial")

    def __init__(self, serial: int) -> None:
        self.serial = serial
        self._next_sequence = 0  # 0: not known yet, an earlier collector may have counted

    def stamp(self, lines: bytes, path: str) -> bytes:
        if self._next_sequence == 0:
            self._next_sequence = last_sequence(path, self.serial) + 1
        stamped, count = stamp(lines, _now(), self._next_sequence, self.serial)
        self._next_sequence += count
        return stamped


class _Stream:
    """One pipe that is read until its end."""

    __slots__ = ("cutter", "fd", "file", "name", "writer")

    def __init__(self, name: str, fd: int, file: LogFile, writer: _Writer) -> None:
        self.name = name
        self.fd = fd
        self.file = file
        self.writer = writer
        self.cutter = LineCutter()


class Collector:
    """Follows streams that arrive over the channel until asked to leave and every stream has ended."""

    def __init__(self, channel: Channel, directory: str, max_size_bytes: int, keep: int) -> None:
        self._channel: Channel | None = channel
        self._directory = directory
        self._max_size_bytes = max_size_bytes
        self._keep = keep
        self._selector = selectors.DefaultSelector()
        self._streams: dict[str, _Stream] = {}
        self._writers: dict[int, _Writer] = {}
        self._files: dict[str, LogFile] = {}
        self._dropping: dict[str, tuple[LogFile, _Writer]] = {}  # by path: whose lines were lost there last
        self._signals_fd = _catch_signals()
        self._leaving = False
        self._terms = 0

    def run(self) -> None:
        """Serve until SIGTERM or the channel's end, and then until every stream has ended.

        A second SIGTERM reads what the pipes hold and leaves. SIGUSR1 reopens the files; SIGINT is ignored.
        """
        self._selector.register(self._signals_fd, selectors.EVENT_READ, self._on_signals)
        self._selector.register(self._channel, selectors.EVENT_READ, self._on_channel)  # type: ignore[arg-type]
        self._send({"type": "ready"})
        while self._terms < 2 and (self._streams or not self._leaving):
            timeout_seconds = _RECOVERY_SECONDS if self._dropping else None
            for key, _ in self._selector.select(timeout_seconds):
                key.data()
            self._say_drops()
        for stream in list(self._streams.values()):
            self._read_what_is_there(stream)
            self._end(stream)
        self._say_drops()

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
        writer = self._writers.setdefault(message["serial"], _Writer(message["serial"]))
        path = f"{self._directory}/{message['group']}-{message['slot']}.{message['name']}.log"
        file = self._files.setdefault(path, LogFile(path, self._max_size_bytes, self._keep))
        stream = self._streams[name] = _Stream(name, fds[0], file, writer)
        self._selector.register(stream.fd, selectors.EVENT_READ, lambda: self._read(stream))

    def _read(self, stream: _Stream) -> None:
        try:
            block = os.read(stream.fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            block = b""
        if block:
            self._write(stream, stream.cutter.feed(block))
        else:
            self._end(stream)

    def _read_what_is_there(self, stream: _Stream) -> None:
        for _ in range(_LAST_READS):
            try:
                block = os.read(stream.fd, READ_BYTES)
            except OSError:
                return
            if not block:
                return
            self._write(stream, stream.cutter.feed(block))

    def _write(self, stream: _Stream, lines: bytes) -> None:
        if not lines:
            return
        file, writer = stream.file, stream.writer
        if file.dropped_lines and not self._say_drop(file, writer):
            file.dropped_lines += lines.count(b"\n")
            return
        lost = file.write(writer.stamp(lines, file.path))
        if lost:
            file.dropped_lines = lost.count(b"\n")
            self._dropping[file.path] = (file, writer)

    def _say_drops(self) -> None:
        for file, writer in list(self._dropping.values()):
            self._say_drop(file, writer)

    def _say_drop(self, file: LogFile, writer: _Writer) -> bool:
        """Write how much was lost, in the place where it is missing; False while the disk still refuses."""
        text = f"[workerctl] {file.dropped_lines} lines were lost here: {file.reason}\n"
        if file.write(writer.stamp(text.encode(), file.path)):
            return False
        file.dropped_lines = 0
        del self._dropping[file.path]
        return True

    def _end(self, stream: _Stream) -> None:
        self._write(stream, stream.cutter.last_words())
        self._selector.unregister(stream.fd)
        os.close(stream.fd)
        del self._streams[stream.name]
        others = self._streams.values()
        if not any(other.writer is stream.writer for other in others):
            del self._writers[stream.writer.serial]
        if not any(other.file is stream.file for other in others) and stream.file.path not in self._dropping:
            self._files.pop(stream.file.path).close()
        self._send({"type": "stream-ended", "stream": stream.name})

    def _reopen(self) -> None:
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


def _now() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return b"%b.%06dZ" % (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(),
        nanoseconds // 1000,
    )
