"""Writes what outlives a supervisor: exits, desired counts, the composition. A full disk costs a record, no worker."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .journal import Journal, timestamp
from .roster import Team
from .state import append_exit, save_desired, write_atomically


class Keeper:
    """Knows where each record lies in a home."""

    def __init__(self, home: Path, journal: Journal) -> None:
        self._home = home
        self._journal = journal
        self._composition = home / "run" / "composition.json"
        self.coming = self._composition  # of the newest release, committed or not

    def keep_exits(self, *records: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            for record in records:
                append_exit(self._home, {"at": timestamp()} | record)

    def keep_composition(self) -> None:
        """What runs now stands in run/composition.json, for whoever composes the next release."""
        try:
            write_atomically(self._composition, self.coming.read_bytes())
        except OSError as error:
            self._journal.say("NotPersisted", error=error.strerror, path=self.coming)

    def keep_desired(self, teams: Mapping[str, Team]) -> None:
        pools = ((name, team) for name, team in teams.items() if team.group.kind == "pool")
        counts = {name: team.desired for name, team in pools if not team.retired}
        try:
            save_desired(self._home, counts)
        except OSError as error:
            self._journal.say("NotPersisted", error=error.strerror, counts=counts)
