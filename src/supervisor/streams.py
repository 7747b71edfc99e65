"""The output of our children on its way to the log collector. The supervisor keeps every pipe and reads none."""

from __future__ import annotations

import contextlib
import os

import msgspec

from ..contract import Channel

ENDED_KEPT = 256  # pipes of ended processes that wait for a collector; the oldest are given up beyond


class Stream(msgspec.Struct, frozen=True):
    """The read end of one pipe."""

    id: str
    group: str
    slot: int
    serial: int
    name: str
    descriptor: int


class Streams:
    """Pipes that outlive a collector: the next one goes on reading where the last one stopped."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._collector: Channel | None = None
        self._waiting: dict[str, None] = {}  # not handed to the present collector yet
        self._ended: dict[int, None] = {}  # serials of ended processes, oldest first

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, group: str, slot: int, serial: int) -> tuple[int, int]:
        """The write ends for standard output and standard error; the caller closes them after handing them on."""
        out = self._pipe(group, slot, serial, "out")
        try:
            return out, self._pipe(group, slot, serial, "err")
        except OSError:
            os.close(out)
            self.forget(serial)
            raise

    def attach(self, collector: Channel) -> None:
        """Hand every pipe to this collector, and each new one from now on."""
        self._collector = collector
        self._waiting = dict.fromkeys(self._streams)
        self.turn()

    def detach(self) -> None:
        self._collector = None
        self._waiting.clear()

    def turn(self) -> None:
        """Hand over what waits; without a free descriptor it waits on."""
        with contextlib.suppress(OSError):
            for stream_id in list(self._waiting):
                self._hand_over(self._streams[stream_id])
                del self._waiting[stream_id]

    def ended(self, stream_id: str) -> None:
        """The collector has read all of it."""
        stream = self._streams.pop(stream_id, None)
        self._waiting.pop(stream_id, None)
        if stream is not None:
            os.close(stream.descriptor)

    def process_ended(self, serial: int) -> None:
        self._ended[serial] = None
        if len(self._ended) > ENDED_KEPT:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            self.forget(oldest)

    def forget(self, serial: int) -> None:
        for name in ("out", "err"):
            self.ended(f"{serial}.{name}")

    def close(self) -> None:
        for stream_id in list(self._streams):
            self.ended(stream_id)

    def _pipe(self, group: str, slot: int, serial: int, name: str) -> int:
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        stream = Stream(f"{serial}.{name}", group, slot, serial, name, read_end)
        self._streams[stream.id] = stream
        if self._collector is not None:
            self._waiting[stream.id] = None
            self.turn()
        return write_end

    def _hand_over(self, stream: Stream) -> None:
        assert self._collector is not None
        message = {
            "type": "follow",
            "stream": stream.id,
            "group": stream.group,
            "slot": stream.slot,
            "serial": stream.serial,
            "name": stream.name,
        }
        self._collector.send(message, [stream.descriptor])
