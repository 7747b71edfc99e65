"""A supervisor that is begun before anything else of `start`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .words import command_word

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


class Ahead:
    """A supervisor that imports itself while the settings are read, which takes as long, and then waits for its home.

    It has a session of its own, so that no terminal's signals reach it. Where we end without a word it ends too.
    """

    def __init__(self) -> None:
        import subprocess

        self._uid = os.getuid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workerctl.supervisor", "--await"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,  # whose end says that it has booted, or ended
            start_new_session=True,
            cwd="/",
        )

    def end(self) -> None:
        """There is nothing to run. Where we have become another user meanwhile it ends as soon as it reads so."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        with contextlib.suppress(PermissionError):
            self._process.kill()
        self._process.wait()

    def start(self, home: Path) -> subprocess.Popen[bytes]:
        """Let it run what `prepare` wrote; another one where we became another user meanwhile."""
        assert self._process.stdin is not None
        if os.getuid() != self._uid:
            self.end()
            return Ahead().start(home)
        with contextlib.suppress(BrokenPipeError):  # it has ended: whoever waits for it sees that
            self._process.stdin.write(os.fsencode(home))
            self._process.stdin.close()
        self._process.stdin = None
        return self._process


_begun: list[Ahead] = []


def begin(arguments: Sequence[str]) -> None:
    """Where this command line starts a supervisor in the background."""
    if command_word(arguments) == "start" and not {"--foreground", "-h", "--help"}.intersection(arguments):
        with contextlib.suppress(OSError):  # no process to be had: `take` says so
            _begun.append(Ahead())


def end() -> None:
    """What was begun and not taken: the command failed before."""
    while _begun:
        _begun.pop().end()


def take() -> Ahead:
    """The one that was begun, or one that begins now."""
    return _begun.pop() if _begun else Ahead()
