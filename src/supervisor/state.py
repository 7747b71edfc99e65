"""What outlives a supervisor in the home: desired counts, parked slots, exits, the outcome. No crash tears it."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

EXITS_LIMIT_BYTES = 1024 * 1024  # of exits.jsonl; the older half is dropped beyond


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """The old content or the new, whatever happens meanwhile; mode 0600.

    `durable`: and the new once this returns, though the power be cut. What tells of processes alone ends with them, and
    each sync takes 5 ms or more on a busy disk.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            _sync_folder(path.parent)  # else a power cut may bring the old name back
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_desired(home: Path) -> dict[str, int]:
    """The persisted counts; empty where there are none or the file was damaged."""
    try:
        text = (home / "state" / "desired.toml").read_text()
    except (OSError, UnicodeDecodeError):
        return {}
    import tomllib  # rarely needed, and not small

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
    return {name: count for name, count in content.items() if isinstance(count, int) and count >= 0}


def save_desired(home: Path, counts: Mapping[str, int]) -> None:
    import tomli_w

    write_atomically(home / "state" / "desired.toml", tomli_w.dumps(dict(counts)).encode())


def load_parked(home: Path) -> frozenset[tuple[str, int]]:
    """Groups and slots that a killed supervisor had given up; empty where there are none or the file was damaged."""
    try:
        return frozenset((str(group), int(slot)) for group, slot in json.loads(_parked(home).read_bytes()))
    except (OSError, ValueError, TypeError):
        return frozenset()


def save_parked(home: Path, seats: Iterable[tuple[str, int]]) -> None:
    write_atomically(_parked(home), json.dumps(list(seats), ensure_ascii=False).encode())


def forget_parked(home: Path) -> None:
    """Whoever starts after an orderly end may try everything again."""
    _parked(home).unlink(missing_ok=True)


def append_exit(home: Path, record: Mapping[str, Any]) -> None:
    """One line more in exits.jsonl; not synced, for a crash may cost a line of history but no write may cost 10 ms."""
    path = home / "state" / "exits.jsonl"
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(descriptor, line)
        size = os.fstat(descriptor).st_size
        if written < len(line):  # the disk is full: half a line would spoil the next one too
            os.ftruncate(descriptor, size - written)
    finally:
        os.close(descriptor)
    if size > EXITS_LIMIT_BYTES:
        content = path.read_bytes()[-EXITS_LIMIT_BYTES // 2 :]
        write_atomically(path, content[content.index(b"\n") + 1 :])


def last_serial(home: Path) -> int:
    """The highest that a process of this home has had: logs and history go by it, so that none comes twice."""
    found = 0
    for path in (home / "state" / "exits.jsonl", home / "run" / "living.json"):
        with contextlib.suppress(OSError):
            found = max(found, *map(int, re.findall(rb'"serial": ?(\d{1,15})', path.read_bytes())), 0)
    return found


def _parked(home: Path) -> Path:
    return home / "state" / "parked.json"


def save_outcome(home: Path, exit_code: int, message: str) -> None:
    content = json.dumps({"exit_code": exit_code, "message": message}, ensure_ascii=False)
    write_atomically(home / "run" / "outcome.json", content.encode() + b"\n")


def load_outcome(home: Path) -> dict[str, Any] | None:
    """How the last supervisor ended, or None where none has."""
    try:
        outcome: dict[str, Any] = json.loads((home / "run" / "outcome.json").read_bytes())
    except (OSError, ValueError):
        return None
    return outcome
