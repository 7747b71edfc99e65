"""Cuts a stream of bytes into whole lines and gives them time, sequence, serial and job. Pure."""

from __future__ import annotations

import re

LINE_LIMIT_BYTES = 1024 * 1024

# A worker puts this byte in front of a line that begins with its job's column; worker/journal.py writes both.
MARK = b"\x1e"
_MARKED = re.compile(rb"\x1e(job=\d+/[^ \x1e]+ )")
_JOB = b"job="
_NO_JOB = b"job=- "  # before a text that itself begins like a job's column


class LineCutter:
    """Whole lines out of blocks of one stream; the rest of a line over the limit is counted, not kept."""

    __slots__ = ("_cut_bytes", "_held")

    def __init__(self) -> None:
        self._held = b""  # the beginning of a line whose end has not come
        self._cut_bytes = 0  # of that line, beyond the limit

    def feed(self, block: bytes) -> bytes:
        """The lines that this block completes, each ended by a newline; valid UTF-8.

        A block may be as long as the limit at most.
        """
        body, newline, tail = block.rpartition(b"\n")
        if not newline:
            self._hold(block)
            return b""
        if self._held:
            first, newline, rest = (body + newline).partition(b"\n")
            self._hold(first)
            whole = self._release() + newline + rest
        else:
            whole = body + newline
        self._held = tail
        return _as_utf8(whole)

    @property
    def held(self) -> bytes:
        """The beginning of a line whose end has not come."""
        return self._held

    @property
    def cut_bytes(self) -> int:
        """How much of that line is over the limit and gone."""
        return self._cut_bytes

    def resume(self, held: bytes, cut_bytes: int) -> None:
        """Go on with half a line that another cutter held."""
        self._held, self._cut_bytes = held, cut_bytes

    def last_words(self) -> bytes:
        """What is left when the stream has ended: half a line becomes a line."""
        return _as_utf8(self._release() + b"\n") if self._held else b""

    def _hold(self, piece: bytes) -> None:
        room = LINE_LIMIT_BYTES - len(self._held)
        self._held += piece[:room]
        self._cut_bytes += len(piece) - len(piece[:room])

    def _release(self) -> bytes:
        held, cut_bytes = self._held, self._cut_bytes
        self._held, self._cut_bytes = b"", 0
        return held + (b" [workerctl: %d more bytes of this line were cut]" % cut_bytes if cut_bytes else b"")


def stamp(whole: bytes, at: bytes, first_sequence: int, serial: int) -> tuple[bytes, int]:
    """Lines as they stand on disk, `<at> <sequence> <serial> [job=<id>/<kind>] <text>`, and how many they are."""
    if MARK in whole or _JOB in whole:
        whole = _with_jobs(whole)
    texts = whole.split(b"\n")
    texts.pop()
    head, middle = at + b" ", b" %d " % serial
    stamped = [b"%b%d%b%b\n" % (head, sequence, middle, text) for sequence, text in enumerate(texts, first_sequence)]
    return b"".join(stamped), len(stamped)


def _with_jobs(whole: bytes) -> bytes:
    """Without the marks. What stands before a mark is another writer's half line and becomes a line of its own."""
    unmarked = whole.replace(MARK, b"")
    marks = len(whole) - len(unmarked)
    if marks == _beginning_with(MARK + _JOB, whole) == _beginning_with(_JOB, unmarked):
        return unmarked
    return b"\n".join(each for text in whole.split(b"\n") for each in _apart(text))


def _beginning_with(start: bytes, whole: bytes) -> int:
    """How many lines begin so."""
    return whole.count(b"\n" + start) + whole.startswith(start)


def _apart(text: bytes) -> list[bytes]:
    unmarked, *marked = _MARKED.split(text)
    found = [column + rest for column, rest in zip(marked[::2], marked[1::2], strict=True)]
    if found and not unmarked:
        return found
    return [_NO_JOB + unmarked if unmarked.startswith(_JOB) else unmarked, *found]


def _as_utf8(whole: bytes) -> bytes:
    if whole.isascii():
        return whole
    try:
        whole.decode()
    except UnicodeDecodeError:
        return whole.decode(errors="replace").encode()
    return whole
