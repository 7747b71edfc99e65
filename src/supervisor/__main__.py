"""`python -m workerctl.supervisor --composition PATH`: runs until stopped; its exit code is the outcome.

With `--await` it reads from standard input which home's run/composition.json that is, as `start` writes it, and
closes its standard output once it has booted.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from pathlib import Path

from .. import lean  # noqa: F401  before whatever imports msgspec
from ..contract import Exit, WorkerctlError, name_process
from .composition import Composition, load_composition
from .lock import take_lock
from .loop import Supervisor
from .members import Words
from .state import save_outcome

DESCRIPTORS = 8192


def main(arguments: list[str]) -> int:
    starter = None
    if arguments == ["--await"]:
        awaited = os.fsdecode(sys.stdin.buffer.read())
        if not awaited:
            return Exit.DONE  # whoever began us has given up
        starter = os.dup(1)  # no child's; it ends when we have booted, or end
        _write_to_log(Path(awaited))
        arguments = ["--composition", str(Path(awaited) / "run" / "composition.json")]
    if len(arguments) != 2 or arguments[0] != "--composition":
        sys.stderr.write("usage: python -m workerctl.supervisor --composition PATH|--await\n")
        return Exit.USAGE
    name_process("workerctl: supervisor")
    os.umask(0o077)
    try:
        composition = load_composition(Path(arguments[1]))
        home = composition.home_path
        for folder in (home, home / "run", home / "state", home / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        take_lock(home / "run")
        _allow_many_descriptors()
    except WorkerctlError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    outcome = _run(composition, starter)
    if outcome.message:
        sys.stderr.write(f"{outcome.message}\n")
    return outcome.exit_code


def _write_to_log(home: Path) -> None:
    """The standard streams of a supervisor in the background."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (2, home / "logs" / "supervisor.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    ):
        descriptor = os.open(path, flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.dup2(2, 1)


def _allow_many_descriptors() -> None:
    """Three for each worker: 512 of them are more than the usual 1,024 allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(composition: Composition, starter: int | None) -> Words:
    home = composition.home_path
    (home / "run" / "outcome.json").unlink(missing_ok=True)
    outcome = Words(Exit.FAILED, "the supervisor itself failed; see logs/supervisor.log")
    try:
        outcome = Supervisor(composition, starter).run()
    finally:
        with contextlib.suppress(OSError):
            save_outcome(home, outcome.exit_code, outcome.message)
    return outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
