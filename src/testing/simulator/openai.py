"""The OpenAI protocol: keys, idempotency, the ledger; what one call asks for is checked in its own module."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from . import openai_chat, openai_images
from .faults import UNPAID, Fault, FaultKind, Faults
from .files import Files, Media
from .latency import Latency
from .ledger import Entry, Ledger
from .openai_errors import Refusal, error, from_fault, from_wrong
from .strict import Wrong
from .wire import Call, Reply, json_reply

JOIN_SECONDS = 60.0  # how long a repeat waits for the work that its first call began
STREAM_PAUSE_SECONDS = 0.002

Kind = Literal["images", "chat"]
Answered = Callable[[Fault | None], Reply]


@dataclass(slots=True)
class _Work:
    """A paid piece of work whose answer can be given again."""

    digest: str
    entry: Entry
    done: threading.Event = field(default_factory=threading.Event)
    answer: Answered | None = None


class OpenAI:
    """`/v1/images/generations` and `/v1/chat/completions`.

    An `Idempotency-Key` that was seen with the same body gives the answer of the first call, also while that one
    is still in work, and costs nothing; with another body it is an error. A call without work (429, 500, refusal)
    leaves no trace under its key.
    """

    def __init__(
        self,
        key: str,
        ledger: Ledger,
        faults: Faults,
        files: Files,
        latency: Latency,
        seed: int,
        stopped: threading.Event,
    ) -> None:
        self._key, self._ledger, self._faults, self._files = key, ledger, faults, files
        self._latency, self._seed, self._stopped = latency, seed, stopped
        self._works: dict[str, _Work] = {}
        self._asked: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.said: list[str] = []

    def handle(self, call: Call) -> Reply:
        """The answer to one call below /v1."""
        try:
            self._check_key(call)
            kinds: dict[str, Kind] = {"/v1/images/generations": "images", "/v1/chat/completions": "chat"}
            if call.path not in kinds:
                raise error(404, f"Invalid URL ({call.method} {call.path})", None)
            if call.method != "POST":
                raise error(
                    405, f"Not allowed to {call.method} on {call.path} (HINT: Perhaps you meant to use POST)", None
                )
            if call.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                raise error(400, "you must provide a JSON body with Content-Type: application/json", None)
            return self._work(kinds[call.path], call)
        except Wrong as wrong:
            return from_wrong(wrong).reply
        except Refusal as refusal:
            return refusal.reply

    def _check_key(self, call: Call) -> None:
        scheme, _, key = call.headers.get("authorization", "").partition(" ")
        if not key:
            raise error(401, "You didn't provide an API key. You need to provide your API key in an Authorization"
                        " header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).", None)  # fmt: skip
        if scheme != "Bearer" or key != self._key:
            raise error(401, f"Incorrect API key provided: {key[:3]}***.", "invalid_api_key")

    def _work(self, kind: Kind, call: Call) -> Reply:
        asked = openai_images.parsed(call.body) if kind == "images" else openai_chat.parsed(call.body)
        digest = hashlib.sha256(kind.encode() + call.body).hexdigest()
        key = call.headers.get("idempotency-key")
        fault = self._faults.draw(kind, digest, asked.prompt)
        with self._lock:
            known = self._works.get(key) if key else None
            if known is None:
                self._asked[digest] += 1
                nth = self._asked[digest]
                entry = self._entry(kind, asked, key)
                work = _Work(digest, entry)
                if key and (fault is None or fault.kind not in UNPAID):
                    self._works[key] = work
        if known is not None:
            return self._repeat(known, digest, fault)
        self._ledger.note(entry, fault)
        if fault is not None and fault.kind in UNPAID:
            self._ledger.unpaid(entry, "refused" if fault.kind is FaultKind.REFUSED else "failed")
            raise from_fault(fault)
        self._stopped.wait(self._latency.draw(random.Random(f"{self._seed}\0{digest}\0{nth}")))
        if isinstance(asked, openai_images.ImagesBody):
            work.answer = self._images(asked, entry, call, f"{digest}\0{nth}")
        else:
            work.answer = self._chat(asked, entry)
        self._ledger.work_ended(entry)
        work.done.set()
        return self._sent(work, fault)

    def _entry(self, kind: Kind, asked: openai_images.ImagesBody | openai_chat.ChatBody, key: str | None) -> Entry:
        return self._ledger.open(
            operation=kind,
            request_id=f"sim{next(self._numbers):08d}",
            model=asked.model,
            prompt=asked.prompt,
            user=asked.safety_identifier or asked.user,
            idempotency_key=key,
            images=asked.count if isinstance(asked, openai_images.ImagesBody) else 0,
            cost_usd=asked.cost_usd if isinstance(asked, openai_images.ImagesBody) else 0.0,
        )

    def _repeat(self, work: _Work, digest: str, fault: Fault | None) -> Reply:
        if work.digest != digest:
            raise error(400, "Keys for idempotent requests can only be used with the same parameters they were first"
                        " used with.", "idempotency_key_reused", kind="idempotency_error")  # fmt: skip
        self._ledger.repeated(work.entry)
        self._ledger.note(work.entry, fault)
        if fault is not None and fault.kind in UNPAID:
            raise from_fault(fault)
        if not work.done.wait(JOIN_SECONDS):
            raise error(409, "The request with this idempotency key is still in work.", "idempotency_key_in_use")
        return self._sent(work, fault)

    def _sent(self, work: _Work, fault: Fault | None) -> Reply:
        assert work.answer is not None
        reply = work.answer(fault)
        corrupt = fault is not None and fault.kind in (FaultKind.NOT_AN_IMAGE, FaultKind.TEN_TIMES, FaultKind.BAD_JSON)

        def note(whole: bool, gone: bool) -> None:
            if whole and not corrupt:
                self._ledger.delivered(work.entry)
            else:
                self._ledger.undelivered(work.entry, client_gone=gone)

        reply.headers["x-request-id"] = work.entry.request_id
        reply.fault, reply.on_sent = fault, note
        return reply

    def _images(self, asked: openai_images.ImagesBody, entry: Entry, call: Call, name: str) -> Answered:
        first = int.from_bytes(hashlib.sha256(f"{self._seed}\0{name}".encode()).digest()[:4], "big")
        seeds = [first + number for number in range(asked.count)]
        width, height = asked.sides
        paths = (
            [self._files.add(Media(asked.prompt, seed, width, height), entry) for seed in seeds] if asked.by_url else []
        )
        urls = [call.base_url + path for path in paths]
        return lambda fault: json_reply(openai_images.answer(asked, entry.created, seeds, urls, fault))

    def _chat(self, asked: openai_chat.ChatBody, entry: Entry) -> Answered:
        with self._lock:
            said = self.said.pop(0) if self.said else None

        def answer(fault: Fault | None) -> Reply:
            broken = fault is not None and fault.kind is FaultKind.BAD_JSON
            answered = openai_chat.answer(asked, said, broken=broken)
            entry.cost_usd = answered.cost_usd
            if asked.stream:
                pieces = openai_chat.streamed(entry, asked, answered, STREAM_PAUSE_SECONDS)
                return Reply(content_type="text/event-stream; charset=utf-8", stream=pieces)
            return json_reply(openai_chat.whole(entry, asked, answered))

        return answer
