"""Runs groups of measurements, one after another, and collects their figures; leaves nothing running behind."""

from __future__ import annotations

import datetime as dt
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from benchmarks import machine
from benchmarks.house import CommandFailed, Scene, TooLate, database_server
from benchmarks.measure import Figure, shown

from workerctl.contract import WorkerctlError

Step = Callable[[Scene], Iterator[Figure]]
EXPECTED = (CommandFailed, TooLate, AssertionError, WorkerctlError, psycopg.Error, subprocess.SubprocessError, OSError)


def run(groups: list[str], runs: int, root: Path, chosen: tuple[list[str], str]) -> dict[str, Any]:
    """Everything that was measured, as the JSON file has it; `chosen` are names of lists of steps, and a word.

    A measurement that cannot be taken costs its own figures only, and is named with its reason.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that everything started is stopped
    _forget_the_callers_surroundings()
    folder = Path(tempfile.mkdtemp(prefix="wb-"))
    since = time.monotonic()
    document: dict[str, Any] = {"at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "runs": runs}
    figures: list[dict[str, Any]] = []
    missing: list[dict[str, str]] = []
    try:
        with database_server(folder) as server:
            document["machine"] = machine.describe(root, server.version())
            for group in groups:
                for step in _steps(group, *chosen):
                    _run_step(group, step, Scene(folder, server, runs), figures, missing)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return document | {"figures": figures, "missing": missing, "seconds": round(time.monotonic() - since, 1)}


def _steps(group: str, lists: list[str], word: str) -> list[Step]:
    module = importlib.import_module(f"benchmarks.{group}")
    return [step for name in lists for step in getattr(module, name, ()) if word in step.__name__]


def _run_step(
    group: str, step: Step, scene: Scene, figures: list[dict[str, Any]], missing: list[dict[str, str]]
) -> None:
    _say(f"{group}: {step.__name__.replace('_', ' ')} ...")
    try:
        for found in step(scene):
            figures.append({"group": group} | _with_surroundings(found, scene.folder))
            _say(f"    {found.name}: {shown(found.value)} {found.unit}")
    except EXPECTED as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        missing.append({"group": group, "what": step.__name__.replace("_", " "), "reason": reason})
        _say(f"    not measured: {reason}")


def _with_surroundings(found: Figure, folder: Path) -> dict[str, Any]:
    return asdict(found) | {"fsync_ms": machine.fsync_ms(folder), "load": machine.load_average()}


def _forget_the_callers_surroundings() -> None:
    """Nothing of the one who measures may lead a process of ours to another database, home or storage.

    Nor may it compile our modules at every start: what is installed has its byte code, as its libraries have theirs.
    """
    for name in list(os.environ):
        if name.startswith(("PG", "WORKERCTL_", "R2_", "AWS_", "CLOUDFLARE_R2_")):
            del os.environ[name]
    names = ("DATABASE_URL", "DIRECT_URL", "POLL_INTERVAL", "MAX_CONCURRENT_JOBS", "SERVICE_TYPE")
    for name in (*names, "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
