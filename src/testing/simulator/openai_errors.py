"""Pure: errors as OpenAI's API words them."""

from __future__ import annotations

from .faults import Fault, FaultKind
from .strict import Wrong
from .wire import Reply, json_reply


class Refusal(Exception):
    """An error answer that ends the handling of a call."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body.decode())
        self.reply = reply


def error(status: int, message: str, code: str | None, param: str | None = None, *, kind: str = "") -> Refusal:
    """The documented error body: message, type, param, code."""
    named = kind or "invalid_request_error"
    return Refusal(json_reply({"error": {"message": message, "type": named, "param": param, "code": code}}, status))


def from_wrong(wrong: Wrong) -> Refusal:
    if wrong.unknown:
        return error(400, f"Unknown parameter: '{wrong.path}'.", "unknown_parameter", wrong.path)
    if wrong.missing:
        return error(400, f"Missing required parameter: '{wrong.path}'.", "missing_required_parameter", wrong.path)
    if not wrong.path:
        return error(400, str(wrong), None)
    return error(400, f"Invalid type for '{wrong.path}': {wrong}", "invalid_type", wrong.path)


def from_fault(fault: Fault) -> Refusal:
    """The answer to a call whose fault means that no work is done."""
    if fault.kind is FaultKind.REFUSED:
        return error(
            400,
            "Your request was rejected as a result of our safety system. Your prompt may contain text that is not"
            " allowed by our safety system.",
            "content_policy_violation",
            kind="image_generation_user_error",
        )
    if fault.kind is FaultKind.SERVER_ERROR:
        return error(500, "The server had an error while processing your request. Sorry about that!", None,
                     kind="server_error")  # fmt: skip
    refusal = error(429, "Rate limit reached for requests", "rate_limit_exceeded", kind="requests")
    if fault.kind is FaultKind.RATE_LIMITED:
        refusal.reply.headers["Retry-After"] = f"{fault.retry_after_seconds:g}"
    return refusal
