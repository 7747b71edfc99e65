"""What handlers and workers both know: @job, the registry, Context, and the outcomes a handler may raise."""

from __future__ import annotations

from .context import Context, Job, Services, memory_text
from .models import write_model
from .outcomes import (
    Cancel,
    ClaimLost,
    Fail,
    InvalidPayload,
    QueueFull,
    Refused,
    Retry,
    Snooze,
    WrongField,
    miscounted,
)
from .registry import Handler, decode, handlers, job, know_settings, validate
from .spec import PAYLOAD_LIMIT_BYTES, job_spec, job_texts
from .texts import holds_no_number, holds_nul, storable, to_json

__all__ = [
    "PAYLOAD_LIMIT_BYTES", "Cancel", "ClaimLost", "Context", "Fail", "Handler", "InvalidPayload", "Job", "QueueFull",
    "Refused", "Retry", "Services", "Snooze", "WrongField", "decode", "handlers", "holds_no_number", "holds_nul", "job",
    "job_spec", "job_texts", "know_settings", "memory_text", "miscounted", "storable", "to_json", "validate",
    "write_model",
]  # fmt: skip
