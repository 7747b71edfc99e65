"""`python -m workerctl.logs.pack FILE INODE TARGET COLLECTOR`: compresses one rotated file, at the lowest priority."""

# ruff: noqa: PTH123
from __future__ import annotations

import os
import sys
import zlib
from typing import BinaryIO

_BLOCK_BYTES = 256 * 1024
_LEVEL = 6
_GZIP = 31  # zlib's number for a gzip header and the largest window


def main(arguments: list[str]) -> int:
    """0: TARGET is complete, on the disk, and as old as FILE. Else it is to be removed by whoever asked."""
    path, inode, target, collector = arguments
    os.nice(19)
    try:
        with open(path, "rb") as file, open(target, "xb", opener=_private) as packed:
            status = os.fstat(file.fileno())
            if status.st_ino != int(inode):
                return 1  # rotated since
            if not _pack(file, packed, int(collector)):
                os.unlink(target)  # noqa: PTH108 - whoever asked is dead
                return 1
            os.fsync(packed.fileno())
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    except OSError:
        return 1
    return 0


def _pack(file: BinaryIO, packed: BinaryIO, collector: int) -> bool:
    """False where the collector died meanwhile: its successor begins anew."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    while block := file.read(_BLOCK_BYTES):
        packed.write(packer.compress(block))
        if os.getppid() != collector:
            return False
    packed.write(packer.flush())
    packed.flush()
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
