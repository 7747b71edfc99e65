"""Cuts a stream of bytes into whole lines and gives them time, sequence and serial. Pure."""

from __future__ import annotations

LINE_LIMIT_BYTES = 1024 * 1024


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
    """Lines as they stand on disk, `<at> <sequence> <serial> <text>`, and how many they are."""
    texts = whole.split(b"\n")
    texts.pop()
    head, middle = at + b" ", b" %d " % serial
    stamped = [b"%b%d%b%b\n" % (head, sequence, middle, text) for sequence, text in enumerate(texts, first_sequence)]
    return b"".join(stamped), len(stamped)


def _as_utf8(whole: bytes) -> bytes:
    if whole.isascii():
        return whole
    try:
        whole.decode()
    except UnicodeDecodeError:
        return whole.decode(errors="replace").encode()
    return whole
