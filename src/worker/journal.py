"""What handlers log: lines on stderr that say which job they belong to."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar

from ..broker.exchange import Claimed

running_job: ContextVar[Claimed | None] = ContextVar("running_job", default=None)


class _JobFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        job = running_job.get()
        prefix = f"[job {job.id} {job.kind}] " if job is not None else ""
        return f"{record.levelname} {record.name}: {prefix}{super().format(record)}"


def log_to_stderr() -> None:
    """Send the standard library's logging to stderr from INFO up, unless the user's modules configured it."""
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JobFormatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    for chatty in ("httpx", "httpcore", "botocore", "boto3", "urllib3", "s3transfer", "PIL"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
