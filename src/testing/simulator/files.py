"""The pictures and videos that answers name by address; made when they are fetched."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass

from . import render
from .faults import FaultKind, Faults
from .ledger import Entry, Ledger
from .video import video
from .wire import Reply, json_reply


@dataclass(frozen=True, slots=True)
class Media:
    """What an address stands for. With `seconds` it is a video."""

    prompt: str
    seed: int
    width: int
    height: int
    form: render.Format = "png"
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return "video.mp4" if self.seconds else f"image.{self.form}"

    @property
    def content_type(self) -> str:
        return "video/mp4" if self.seconds else render.CONTENT_TYPES[self.form]

    def content(self, *, ten_times: bool = False) -> bytes:
        if self.seconds:
            return video(self.prompt, self.seed, self.width, self.height, self.seconds * (10 if ten_times else 1))
        sides = render.ten_times(self.width, self.height) if ten_times else (self.width, self.height)
        return render.encoded(render.picture(self.prompt, self.seed, *sides), self.form)


class Files:
    """Addresses below /files/. They need no key, as the providers' own don't."""

    def __init__(self, faults: Faults, ledger: Ledger) -> None:
        self._faults, self._ledger = faults, ledger
        self._media: dict[str, tuple[Media, Entry]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, media: Media, entry: Entry) -> str:
        """The path of a new address for what this request made."""
        with self._lock:
            path = f"/files/{next(self._numbers)}/{media.name}"
            self._media[path] = media, entry
        return path

    def get(self, path: str) -> Reply:
        if path not in self._media:
            return json_reply({"detail": "Not found"}, 404)
        media, entry = self._media[path]
        fault = self._faults.draw("file", path, media.prompt)
        self._ledger.note(entry, fault)
        kind = fault.kind if fault is not None else None
        if kind in (FaultKind.RATE_LIMITED, FaultKind.RATE_LIMITED_BARE):
            reply = Reply(429, b"too many requests", "text/plain")
            if fault is not None and kind is FaultKind.RATE_LIMITED:
                reply.headers["Retry-After"] = f"{fault.retry_after_seconds:g}"
            return reply
        if kind is FaultKind.SERVER_ERROR:
            return Reply(500, b"internal error", "text/plain")
        if kind is FaultKind.NOT_AN_IMAGE:
            return Reply(200, b"this is no picture " * 20, media.content_type)
        content = media.content(ten_times=kind is FaultKind.TEN_TIMES)
        return Reply(200, content, media.content_type, fault=fault)
