"""SIGHUP: runs the command that composes anew and asks for a reload, one at a time."""

from __future__ import annotations

import contextlib

from ..contract import Unusable
from .askers import Asker
from .composition import Composition, load_composition
from .journal import Journal
from .processes import Ended, Processes
from .spawn import run_aside


class Hangups:
    """Hangups that arrive while one is being answered are answered together, once it has ended."""

    def __init__(self, composition: Composition, processes: Processes, journal: Journal) -> None:
        self._composition = composition
        self._processes = processes
        self._journal = journal
        self._pid: int | None = None
        self._again = False
        self._reason = ""

    def take(self, asker: Asker) -> None:
        """Begin a reload whose reason is this asker; nothing happens where the composition names no command."""
        self._reason = asker.text
        if self._pid is not None:
            self._again = True
        else:
            self._begin()

    def _begin(self) -> None:
        with contextlib.suppress(Unusable):  # a reload since may have brought another folder, and another config
            self._composition = load_composition(self._composition.home_path / "run" / "composition.json")
        command, folder = self._composition.reload_command, self._composition.project
        if not command:
            self._journal.say("HangupIgnored", reason="the composition names no reload command")
            return
        try:
            self._pid = run_aside((*command, self._reason), folder)
        except OSError as error:
            self._journal.say("HangupFailed", error=error.strerror)
            return
        self._processes.know(self._pid)

    def ended(self, end: Ended) -> None:
        """A child that is nobody's in the roster was reaped."""
        if end.pid != self._pid:
            return
        self._pid = None
        self._journal.say("HangupAnswered", exit_code=end.code, signal=end.signal)
        if self._again:
            self._again = False
            self._begin()
