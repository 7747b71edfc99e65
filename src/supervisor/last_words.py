"""What a process that ended without a message wrote last, from the log that the collector keeps of it."""

from __future__ import annotations

from pathlib import Path

TAIL_BYTES = 16 * 1024
LINES = 3


def last_lines(home: Path, group: str, slot: int, serial: int) -> str:
    """Its last lines on standard error as one line; empty where it wrote none.

    A line of the log is: time, sequence number, serial, text.
    """
    try:
        with (home / "logs" / f"{group}-{slot}.err.log").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    parts = (line.split(" ", 3) for line in lines)
    texts = [part[3].strip() for part in parts if len(part) == 4 and part[2] == str(serial) and part[3].strip()]
    return " | ".join(texts[-LINES:])
