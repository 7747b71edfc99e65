"""Who lives, written down for the next supervisor: it tells the ends that a killed one could not see."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .children import Child
from .roster import shown_name
from .states import Cause


class Census:
    """Keeps run/living.json. Not synced and up to a period old: a lost line costs a line of history."""

    def __init__(self, home: Path) -> None:
        self._path = home / "run" / "living.json"
        self._left = _read(self._path)
        self._written: list[dict[str, Any]] | None = None

    def lost(self) -> list[dict[str, Any]]:
        """Exits for the history, once everybody whom an earlier supervisor left has ended; told once."""
        left, self._left = self._left, []
        cause = str(Cause.PARENT_LOST)
        return [record | {"cause": cause, "exit_code": None, "signal": None} for record in left]

    def note(self, children: Iterable[Child]) -> None:
        """Write down who lives now, where that has changed."""
        present = [
            {
                "group": shown_name(child.group.name),
                "slot": child.slot,
                "serial": child.serial,
                "pid": child.pid,
                "incarnation": child.incarnation,
            }
            for child in children
            if child.pid is not None
        ]
        if present == self._written:
            return
        self._written = present
        with contextlib.suppress(OSError):
            fresh = self._path.with_suffix(".new")
            fresh.write_text(json.dumps(present))
            fresh.replace(self._path)

    def close(self) -> None:
        """An orderly end leaves nobody to tell of."""
        self._path.unlink(missing_ok=True)


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    return [record for record in found if isinstance(record, dict)] if isinstance(found, list) else []
