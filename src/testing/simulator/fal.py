"""The fal.ai queue protocol: submit, status, result, cancel, webhooks."""

from __future__ import annotations

import hashlib
import random
import threading
import time
import uuid
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from . import fal_models
from .fal_requests import COMPLETED, QUEUED, Request, Runners, Trouble, earlier, log_lines
from .faults import UNPAID, Fault, FaultKind, Faults, Operation
from .files import Files
from .latency import Latency
from .ledger import Ledger
from .strict import Wrong
from .webhook import deliver
from .wire import Call, Reply, json_reply

SWITCHES = {"0": False, "1": True, "false": False, "true": True}
QUERY_OF_SUBMIT = {"fal_webhook", "fal_max_queue_length"}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Fal:
    """`POST /owner/alias[/path]`, then `/owner/alias/requests/{id}[/status|/cancel]`.

    As at fal.ai a body that its model does not take is accepted at first, and fails with 422 at its result.
    Work is paid when it begins; a request that is cancelled in the queue costs nothing.
    """

    def __init__(
        self, key: str, ledger: Ledger, faults: Faults, files: Files, latency: Latency, seed: int, runners: int,
        stopped: threading.Event,
    ) -> None:  # fmt: skip
        self._key, self._ledger, self._faults, self._files = key, ledger, faults, files
        self._latency, self._seed, self._stopped = latency, seed, stopped
        self._runners = Runners(runners)
        self._requests: dict[str, Request] = {}
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def handle(self, call: Call) -> Reply:
        """The answer to one call."""
        if call.headers.get("authorization") != f"Key {self._key}":
            return json_reply({"detail": "Authentication is required to access this application."}, 401)
        parts = call.path.strip("/").split("/")
        if len(parts) >= 4 and parts[2] == "requests":
            return self._about_request(call, "/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        if call.method != "POST":
            return json_reply({"detail": "Method Not Allowed"}, 405)
        return self._submit(call, "/".join(parts))

    def _submit(self, call: Call, model: str) -> Reply:
        if model not in fal_models.MODELS:
            return json_reply({"detail": f"Application '{model}' not found"}, 404)
        unknown = call.query.keys() - QUERY_OF_SUBMIT
        webhook = call.query.get("fal_webhook")
        if unknown or (webhook is not None and urlsplit(webhook).hostname not in LOOPBACK):
            name = min(unknown) if unknown else "fal_webhook"
            told = "unknown parameter" if unknown else "the simulator calls addresses of this machine only"
            return json_reply({"detail": [{"loc": ["query", name], "msg": told, "type": "value_error"}]}, 422)
        digest = hashlib.sha256(model.encode() + call.body).hexdigest()
        asked, trouble = _input(model, call.body)
        if trouble is not None and trouble.error_type == "json_invalid":
            return json_reply({"detail": trouble.detail}, 422)
        prompt = asked.prompt if asked is not None else ""
        fault = self._faults.draw("submit", digest, prompt)
        if fault is not None and fault.kind in UNPAID - {FaultKind.REFUSED}:
            return _failed(fault)
        if fault is not None and fault.kind is FaultKind.REFUSED:
            trouble = Trouble(422, fal_models.refusal(prompt), "content_policy_violation")
        request = self._place(model, call.base_url, digest, asked, trouble, webhook)
        first: dict[str, Any] = {
            "status": QUEUED,
            "queue_position": self._position(request),
            "logs": None,
            "metrics": {},
        }
        reply = json_reply(first | request.addresses)
        self._ledger.note(request.entry, fault)
        reply.fault = fault
        if trouble is None:  # else nothing was paid that could be lost
            reply.on_sent = lambda whole, gone: (
                None if whole else self._ledger.undelivered(request.entry, client_gone=gone)
            )
        return reply

    def _place(
        self,
        model: str,
        base_url: str,
        digest: str,
        asked: fal_models.Input | None,
        trouble: Trouble | None,
        webhook: str | None,
    ) -> Request:
        with self._lock:
            self._asked[digest] += 1
            name = f"{self._seed}\0{digest}\0{self._asked[digest]}"
        chance = random.Random(name)
        given = getattr(asked, "seed", None)
        request_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        entry = self._ledger.open(
            operation="submit", request_id=request_id, model=model, prompt=asked.prompt if asked else "", user=None,
            idempotency_key=None, seed=given, images=fal_models.count(asked) if asked else 0,
            cost_usd=fal_models.cost_usd(asked) if asked else 0.0,
        )  # fmt: skip
        starts, ends = self._runners.place(0.0 if trouble else self._latency.draw(chance))
        app = "/".join(model.split("/")[:2])
        seed = given if given is not None else chance.getrandbits(31)
        request = Request(request_id, app, base_url, asked, seed, entry, starts, ends, webhook, trouble)
        if trouble is not None:
            self._ledger.unpaid(entry, "refused")
        with self._lock:
            self._requests[request_id] = request
        timer = threading.Thread(target=self._at_its_end, args=(request,), daemon=True)
        timer.start()
        return request

    def _at_its_end(self, request: Request) -> None:
        self._stopped.wait(max(0.0, request.ends - time.monotonic()))
        self._ledger.work_ended(request.entry)
        if request.webhook is None or self._stopped.is_set():
            return
        payload: dict[str, Any] = {"request_id": request.id, "gateway_request_id": request.id}
        if request.trouble is not None:
            payload |= {"status": "ERROR", "error": str(request.trouble.status)}
            payload |= {"payload": {"detail": request.trouble.detail}}
        else:
            payload |= {"status": "OK", "error": None, "payload": self._result(request)}
        twice = self._faults.draw("webhook", request.id, request.entry.prompt) is not None
        for _ in range(2 if twice else 1):
            if deliver(request.webhook, payload, self._stopped):
                self._ledger.delivered(request.entry)

    def _about_request(self, call: Call, app: str, request_id: str, verb: str) -> Reply:
        wanted: dict[tuple[str, str], Operation] = {
            ("GET", "status"): "status", ("GET", ""): "result", ("PUT", "cancel"): "cancel",
        }  # fmt: skip
        operation = wanted.get((call.method, verb))
        request = self._requests.get(request_id)
        if operation is None:
            return json_reply({"detail": "Method Not Allowed" if verb in ("", "status", "cancel") else "Not Found"},
                              405 if verb in ("", "status", "cancel") else 404)  # fmt: skip
        if request is None or request.app != app:
            told = {"status": "NOT_FOUND"} if operation == "cancel" else {"detail": "Request not found"}
            return json_reply(told, 404)
        fault = self._faults.draw(operation, request_id, request.entry.prompt)
        self._ledger.note(request.entry, fault)
        if fault is not None and fault.kind in UNPAID:
            if operation == "result":
                self._break(request, fault)
            return _failed(fault)
        if operation == "status":
            reply = self._status(call, request, fault)
        elif operation == "cancel":
            reply = self._cancel(request)
        else:
            reply = self._give(request)
        reply.fault = fault
        return reply

    def _status(self, call: Call, request: Request, fault: Fault | None) -> Reply:
        logs = SWITCHES.get(call.query.get("logs", "0"))
        if logs is None or call.query.keys() - {"logs"}:
            return json_reply(
                {"detail": [{"loc": ["query", "logs"], "msg": "expected 0 or 1", "type": "bool_parsing"}]}, 422
            )
        now = time.monotonic()
        state = request.state(now)
        if fault is not None and fault.kind is FaultKind.OUT_OF_ORDER:
            state = earlier(request.told)
        request.told = state
        told: dict[str, Any] = {"status": state, **request.addresses}
        if state == QUEUED:
            return json_reply(told | {"queue_position": self._position(request)}, 202)
        told["logs"] = log_lines(request, now) if logs else None
        if state != COMPLETED:
            return json_reply(told, 202)
        told["metrics"] = {"inference_time": round(request.ends - request.starts, 3)}
        if request.trouble is not None:
            told |= {"error": str(request.trouble.detail)[:500], "error_type": request.trouble.error_type}
        return json_reply(told)

    def _give(self, request: Request) -> Reply:
        if request.state(time.monotonic()) != COMPLETED:
            return json_reply({"detail": "Request is still in progress"}, 400)
        if request.trouble is not None:
            trouble = request.trouble
            return json_reply({"detail": trouble.detail}, trouble.status, X_Fal_Error_Type=trouble.error_type)
        reply = json_reply(self._result(request))
        entry = request.entry
        reply.on_sent = lambda whole, gone: (
            self._ledger.delivered(entry) if whole else self._ledger.undelivered(entry, client_gone=gone)
        )
        return reply

    def _break(self, request: Request, fault: Fault) -> None:
        """A 500 at the result is the work's own end, and not billed."""
        is_undone = request.state(time.monotonic()) == COMPLETED and not request.entry.deliveries
        if fault.kind is FaultKind.SERVER_ERROR and request.trouble is None and is_undone:
            request.trouble = Trouble(500, "Internal server error", "internal_error")
            self._ledger.unpaid(request.entry, "failed")

    def _cancel(self, request: Request) -> Reply:
        now = time.monotonic()
        state = request.state(now)
        if state == COMPLETED:
            return json_reply({"status": "ALREADY_COMPLETED"}, 400)
        request.trouble = Trouble(499, "Request was cancelled", "client_cancelled")
        if state == QUEUED:
            self._ledger.unpaid(request.entry, "cancelled")
            request.starts = now
        request.ends = now
        return json_reply({"status": "CANCELLATION_REQUESTED"}, 202)

    def _result(self, request: Request) -> dict[str, Any]:
        assert request.asked is not None
        with self._lock:
            if request.result is None:
                made = fal_models.media(request.asked, request.seed)
                urls = [request.base_url + self._files.add(one, request.entry) for one in made]
                request.result = fal_models.result(request.asked, request.seed, urls)
        return request.result

    def _position(self, request: Request) -> int:
        now = time.monotonic()
        with self._lock:
            waiting = [other for other in self._requests.values() if other.state(now) == QUEUED]
        return sum(other.starts < request.starts for other in waiting)


def _input(model: str, body: bytes) -> tuple[fal_models.Input | None, Trouble | None]:
    try:
        return fal_models.parsed(model, body), None
    except Wrong as wrong:
        kind = "input_value_error" if wrong.path or wrong.missing else "json_invalid"
        return None, Trouble(422, fal_models.input_errors(wrong), kind)


def _failed(fault: Fault) -> Reply:
    if fault.kind is FaultKind.SERVER_ERROR:
        return json_reply({"detail": "Internal server error", "error_type": "internal_error"}, 500,
                          X_Fal_Error_Type="internal_error")  # fmt: skip
    reply = json_reply({"detail": "Too many requests"}, 429)
    if fault.kind is FaultKind.RATE_LIMITED:
        reply.headers["Retry-After"] = f"{fault.retry_after_seconds:g}"
    return reply
