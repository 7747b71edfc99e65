"""Writes what outlives a supervisor: exits, counts, parked slots, the composition. A full disk costs a record."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .journal import Journal, timestamp
from .roster import Team, shown_name
from .state import append_exit, forget_parked, save_desired, save_parked, write_atomically


class Keeper:
    """Knows where each record lies in a home."""

    def __init__(self, home: Path, journal: Journal) -> None:
        self._home = home
        self._journal = journal
        self._composition = home / "run" / "composition.json"
        self.coming = self._composition  # of the newest release, committed or not
        self._parked: list[tuple[str, int]] = []

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

    def keep_desired(self, teams: Mapping[str, Team]) -> str | None:
        """What keeps the counts from being kept, in words for who asked; None where they are."""
        pools = ((name, team) for name, team in teams.items() if team.group.kind == "pool")
        counts = {name: team.desired for name, team in pools if not team.retired}
        try:
            save_desired(self._home, counts)
        except OSError as error:
            self._journal.say("NotPersisted", error=error.strerror, counts=counts)
            return f"this holds until the next start: it could not be written below {self._home}: {error.strerror}"
        return None

    def keep_parked(self, teams: Iterable[Team]) -> None:
        """Slots that are given up, where that has changed; one that is being tried again has not proven itself yet."""
        parked = [
            (shown_name(team.group.name), slot.number)
            for team in teams
            for slot in team.wanted
            if slot.parked_at is not None or slot.awaits_release or (slot.probing and not slot.is_ready)
        ]
        if parked != self._parked:
            self._parked = parked
            with contextlib.suppress(OSError):
                save_parked(self._home, parked)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            forget_parked(self._home)
