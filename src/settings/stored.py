"""Hands the effective settings to the child processes through a file."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from ..contract import Unusable
from .types import Settings


def dump(settings: Settings, path: Path) -> None:
    """Write `path` (JSON, 0600: it holds the secrets) at once: a reader sees the old file or the new.

    Not synced: it is for processes that a loss of power ends too.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()  # of an earlier process with our pid, killed in the middle
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(settings))
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def restore(path: Path) -> Settings:
    """What `dump` wrote. Raises Unusable, without any value, where the file is missing or not ours."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Settings)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}; `workerctl start` writes it") from None
    except msgspec.MsgspecError as error:
        raise Unusable(f"{path}: not settings of this version ({error}); start again") from None
