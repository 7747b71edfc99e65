"""Posts a result to the address that its request named."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

TRIES = 3
PAUSE_SECONDS = 0.2
TIMEOUT_SECONDS = 10.0


def deliver(url: str, payload: dict[str, Any], stopped: threading.Event) -> bool:
    """Whether somebody took it with a 2xx; it is tried a few times. Unsigned: fal.ai's key is not ours."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Content-Type": "application/json", "X-Fal-Webhook-Request-Id": str(payload["request_id"])}
    for _ in range(TRIES):
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", target, json.dumps(payload).encode(), headers)
            if connection.getresponse().status // 100 == 2:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        if stopped.wait(PAUSE_SECONDS):
            return False
    return False
