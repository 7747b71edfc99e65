"""What children say, as facts. Pure; whatever does not make sense is a BadMessage."""

from __future__ import annotations

from typing import Any

from . import events as ev
from .children import Child
from .members import Words, Work

FINGERPRINT_LIMIT = 64
WORDS_LIMIT = 2000  # characters of last words that are kept


class BadMessage(Exception):
    """A child said something that the protocol does not know."""


def understand(child: Child, message: dict[str, Any], now: float) -> ev.Event:
    """The fact that this message tells. Raises BadMessage."""
    who = (now, child.group.name, child.slot, child.serial)
    try:
        match message["type"]:
            case "ready" if child.group.ready.kind == "channel":
                return ev.BecameReady(*who, str(message.get("fingerprint", ""))[:FINGERPRINT_LIMIT])
            case "rehearsed" if child.group.kind == "template":
                return ev.Rehearsed(*who)
            case "heartbeat":
                return ev.Heartbeat(*who, _work(message))
            case "draining":
                reason = message.get("reason")
                return ev.SaidDraining(*who, None if reason is None else str(reason)[:WORDS_LIMIT])
            case "failed":
                text = " ".join(str(message["message"]).split())[:WORDS_LIMIT]
                return ev.SaidFailed(*who, Words(int(message["exit_code"]), text))
            case "released" if child.group.kind == "agent":
                return ev.Released(now, str(message["incarnation"]), int(message.get("jobs", 0)))
            case "primary" if child.group.kind == "agent":
                holder = message.get("holder")
                return ev.PrimaryChanged(now, bool(message["holds_lease"]), None if holder is None else str(holder))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadMessage(f"{type(error).__name__} in {str(message)[:200]}") from error
    raise BadMessage(f"unknown message {str(message)[:200]}")


def _work(message: dict[str, Any]) -> Work:
    jobs, growth, caches = (message.get(name) or () for name in ("jobs", "growth", "caches"))
    return Work(
        jobs_running=int(message.get("jobs_running", 0)),
        jobs_done=int(message.get("jobs_done", 0)),
        jobs_failed=int(message.get("jobs_failed", 0)),
        jobs=tuple(job for job in jobs if isinstance(job, dict)),
        growth=tuple(kind for kind in growth if isinstance(kind, dict)),
        caches=tuple(cache for cache in caches if isinstance(cache, dict)),
        database=bool(message.get("database", True)),
    )
