"""What a template does to its memory, so that its forks need less: a page belongs to all of them until one writes."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

MADV_DONTNEED = 4
POOL_BYTES = 16384  # CPython's allocator serves objects of one size from a pool
POOL_HEADER_BYTES = 48
SMALL_BYTES = range(48, 513, 16)  # the sizes that it serves so, but for the two smallest
MOST_HOLES = 600  # of one size; there are some hundred

_fillers: list[bytes] = []


def settle() -> None:
    """Before the first fork: nothing is garbage, the collector never looks at what is here, and no pool has a hole.

    What a fork makes would go into the holes, one here and one there, and each would cost it a page: 0.26 MB a worker.
    """
    gc.collect()
    gc.freeze()
    for size_bytes in SMALL_BYTES:
        _fillers.extend(_fill_holes(size_bytes))


def _fill_holes(size_bytes: int) -> list[bytes]:
    """As many objects of this size as there are holes for; some for nothing where another allocator is in use."""
    fillers: list[bytes] = []
    while len(fillers) < MOST_HOLES:
        filler = bytes(size_bytes - sys.getsizeof(b""))
        if id(filler) % POOL_BYTES == POOL_HEADER_BYTES:  # the first of a new pool
            break
        fillers.append(filler)
    return fillers


def let_go_of_files() -> None:
    """Unmap the pages of libraries that are as they are on disk: what is needed again is found in the page cache.

    Linux only, and for a process with one thread. Imports read 11 MB of code and symbols, most of it once. 10 ms.
    """
    mappings = Path("/proc/self/smaps")
    if not mappings.exists():
        return
    with mappings.open("rb") as lines:
        unwritten = list(_unwritten_files(lines))
    advise = ctypes.CDLL(None).madvise
    for begin, end in unwritten:
        advise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), MADV_DONTNEED)


def _unwritten_files(lines: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    """Where files are mapped that cannot be written to, and were not while they could be (the linker does)."""
    begin = end = written_kib = 0
    read_only_file = False
    for line in lines:
        name, *values = line.split()
        if name in (b"Anonymous:", b"Swap:"):
            written_kib += int(values[0])
        elif name == b"VmFlags:":  # the last line of a mapping
            if read_only_file and written_kib == 0:
                yield begin, end
        elif not name.endswith(b":"):  # the first one
            begin, end = (int(bound, 16) for bound in name.split(b"-"))
            mode, _, _, inode, *_ = values
            read_only_file, written_kib = b"w" not in mode and inode != b"0", 0
