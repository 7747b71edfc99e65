"""Lines on their way to the disk: what it refuses waits a little, what it does not take is counted and said."""

from __future__ import annotations

import time
from collections.abc import Callable

from .file import LogFile
from .stream import Numbering, Stream
from .writer import Writer

PATIENCE_SECONDS = 2.0  # so long a slow or full disk holds up those who write; then lines are lost, and counted
_RETRY_SECONDS = 0.1
_RECOVERY_SECONDS = 1.0  # how often a full disk is tried again for the sake of the notice alone
_STILL_WRITING = "the disk did not answer"


class Outlet:
    """Where every stream's lines go. A stream with refused lines is paused: nothing more of it is read meanwhile."""

    def __init__(
        self,
        *,
        pause: Callable[[Stream], None],
        resume: Callable[[Stream], None],
        let_go: Callable[[LogFile], None],
    ) -> None:
        self._pause = pause
        self._resume = resume
        self._let_go = let_go  # of a file whose losses are said
        self._writer = Writer()
        self._refused: dict[str, Stream] = {}  # by name: waits for a disk that is full
        self._dropping: dict[str, tuple[LogFile, Numbering]] = {}  # by path: whose lines were lost there last

    @property
    def hangs(self) -> bool:
        """Whether the disk has not answered: no file may be touched."""
        return self._writer.hangs

    def has_let_go_of(self, file: LogFile) -> bool:
        return file.path not in self._dropping and not self._writer.hangs

    def pause_seconds(self) -> float | None:
        """When to come back though nothing happens; None where nothing waits."""
        if self._refused or self._writer.hangs:
            return _RETRY_SECONDS
        return _RECOVERY_SECONDS if self._dropping else None

    def write(self, stream: Stream, lines: bytes) -> bool:
        """Whether they are on the disk; else they wait there for it, or are lost and counted."""
        file = stream.file
        if stream.refused:
            self._lose(stream, stream.refused)  # hurried: there is no time left to wait
            self._give_up(stream)
        if self._writer.hangs or (file.dropped_lines and not self._say_drop(file, stream.numbering)):
            self._lose(stream, lines)
            return False
        rest = self._writer.write(file, stream.stamp(lines), PATIENCE_SECONDS)
        if rest is None:
            self._dropping.setdefault(file.path, (file, stream.numbering))  # may be lost, may be written yet
            return False
        if rest:
            now = time.monotonic()
            stream.refused, stream.refused_since, stream.retry_at = rest, now, now + _RETRY_SECONDS
            self._refused[stream.name] = stream
            self._pause(stream)
        return not rest

    def hurry(self, stream: Stream) -> None:
        """Write what was refused of this stream now, or lose it."""
        stream.refused_since = float("-inf")
        self._write_refused(stream)

    def settle(self, patience_seconds: float) -> bool:
        """Whether the disk answers again; what it refused of a batch that hung is lost."""
        if not self._writer.hangs:
            return True
        settled = self._writer.settle(patience_seconds)
        if settled is None:
            return False
        file, rest = settled
        if rest:
            file.dropped_lines += file.saying or rest.count(b"\n")
        file.saying = 0
        return True

    def retry(self) -> None:
        """Write what was refused where it is time, then say what was lost."""
        for stream in list(self._refused.values()):
            if time.monotonic() >= stream.retry_at:
                self._write_refused(stream)
            if self._writer.hangs:
                return
        for file, numbering in list(self._dropping.values()):
            if not self._say_drop(file, numbering) and self._writer.hangs:
                return

    def _write_refused(self, stream: Stream) -> None:
        hung_before = self._writer.hangs
        rest = stream.refused if hung_before else self._writer.write(stream.file, stream.refused, PATIENCE_SECONDS)
        now = time.monotonic()
        if rest is None:
            self._dropping.setdefault(stream.file.path, (stream.file, stream.numbering))
        elif rest and now - stream.refused_since < PATIENCE_SECONDS:
            stream.refused, stream.retry_at = rest, now + _RETRY_SECONDS
            return
        elif rest:
            self._lose(stream, rest)
        else:
            stream.keep_half(grown=False)
        self._give_up(stream)

    def _give_up(self, stream: Stream) -> None:
        stream.refused = b""
        del self._refused[stream.name]
        self._resume(stream)

    def _lose(self, stream: Stream, lines: bytes) -> None:
        stream.file.dropped_lines += lines.count(b"\n")
        self._dropping[stream.file.path] = (stream.file, stream.numbering)
        stream.keep_nothing()

    def _say_drop(self, file: LogFile, numbering: Numbering) -> bool:
        """Write how much was lost, in the place where it is missing; False while the disk still refuses."""
        lost = file.dropped_lines
        if lost:
            text = f"[workerctl] {lost} lines were lost here: {file.reason or _STILL_WRITING}\n"
            refused = self._writer.write(file, numbering.stamp(text.encode(), file.path), PATIENCE_SECONDS)
            if refused is None:
                file.saying, file.dropped_lines = lost, 0  # the notice is on its way
            if refused is None or refused:
                return False
        file.dropped_lines = 0
        file.reason = ""
        self._dropping.pop(file.path, None)
        self._let_go(file)
        return True
