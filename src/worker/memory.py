"""Gives back to the system what this process does not need."""

from __future__ import annotations

import ctypes
import gc


def give_memory_back() -> None:
    """Collect garbage, and let the allocator return free pages where it can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
