"""Imported before what imports msgspec: without typing_extensions, which that takes where it is installed.

It would cost 1.4 MB and 15 ms for what we do not use.
"""

from __future__ import annotations

import sys
from typing import Any, cast


def _import_msgspec() -> None:
    modules = cast(dict[str, Any], sys.modules)
    if "typing_extensions" in modules or "msgspec" in modules:
        return
    modules["typing_extensions"] = None  # what its import takes for not installed
    try:
        import msgspec  # noqa: F401  for our modules
    finally:
        del modules["typing_extensions"]


_import_msgspec()
