"""Processes: starts, watches, scales and stops them. Knows nothing of jobs, SQL or HTTP."""

from __future__ import annotations

import sys
from typing import Any, cast


def _import_msgspec() -> None:
    """Without typing_extensions, which it takes where that is installed: 1.4 MB and 15 ms for what we do not use."""
    modules = cast(dict[str, Any], sys.modules)
    if "typing_extensions" in modules or "msgspec" in modules:
        return
    modules["typing_extensions"] = None  # what its import takes for not installed
    try:
        import msgspec  # noqa: F401  for our modules
    finally:
        del modules["typing_extensions"]


_import_msgspec()
