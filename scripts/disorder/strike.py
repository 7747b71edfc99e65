"""Carries the faults out: the only module here that signals. Only processes of the homes that this run started."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass

import psutil
from disorder.homes import Home
from disorder.network import Relay
from disorder.plan import Fault

from workerctl.contract import NotRunning

SUPERVISOR_LONGER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault as it happened; `at` is CLOCK_MONOTONIC. Without victims nobody was there."""

    fault: Fault
    at: float
    victims: tuple[int, ...]
    note: str = ""


class Striker:
    """Strikes, heals what was stopped when its time is over, and starts again what lost its supervisor."""

    def __init__(self, homes: dict[int, Home], relay: Relay) -> None:
        self._homes = homes
        self._relay = relay
        self._stopped: list[tuple[float, psutil.Process]] = []
        self._to_start: set[int] = set()
        self.struck: list[Struck] = []

    def strike(self, fault: Fault) -> Struck:
        """Carry one fault out; what became of it."""
        home = self._homes[fault.node]
        done = Struck(fault, time.monotonic(), (), "nobody there")
        if fault.deed == "cut":
            broken = self._relay.cut(fault.seconds)
            done = Struck(fault, done.at, tuple(range(broken)), f"{broken} connections")
        elif not home.is_starting:
            with contextlib.suppress(NotRunning):
                found = home.victims(fault.target)
                if found and fault.target not in ("machine", "postgres"):
                    found = [found[int(fault.choice * len(found))]]
                every = self._with_children(fault, found)
                hit = [process.pid for nth, process in enumerate(every) if self._hit(fault, process, nth)]
                done = Struck(fault, done.at, tuple(hit), "" if hit else "nobody there")
                if hit and fault.deed == "kill" and fault.target in ("supervisor", "machine"):
                    self._to_start.add(fault.node)
        self.struck.append(done)
        return done

    def attend(self) -> None:
        """Continue what was stopped long enough; start again what has no supervisor."""
        now = time.monotonic()
        for entry in [entry for entry in self._stopped if entry[0] <= now]:
            self._stopped.remove(entry)
            with contextlib.suppress(psutil.Error):
                entry[1].resume()
        for node in list(self._to_start):
            home = self._homes[node]
            if not self._stopped_in(home) and not home.is_starting:
                home.begin_start()
                self._to_start.discard(node)

    def heal(self) -> None:
        """Continue everything at once."""
        self._stopped = [(0.0, process) for _, process in self._stopped]
        self.attend()

    @property
    def at_rest(self) -> bool:
        return not self._stopped and not self._to_start and not any(home.is_starting for home in self._homes.values())

    def _with_children(self, fault: Fault, found: list[psutil.Process]) -> list[psutil.Process]:
        """PostgreSQL stands still only as a whole; its death is the postmaster's. A sleeper's supervisor sleeps longer:
        it would kill a worker that it finds silent, before that could say anything.
        """
        if fault.target == "postgres" and fault.deed != "kill":
            return [*found, *(child for process in found for child in process.children())]
        if fault.target == "sleeper":
            return [*found, *self._homes[fault.node].victims("supervisor")]
        return found

    def _hit(self, fault: Fault, process: psutil.Process, nth: int) -> bool:
        with contextlib.suppress(psutil.Error):
            if fault.deed in ("stop", "freeze"):
                process.send_signal(signal.SIGSTOP)
                longer = SUPERVISOR_LONGER_SECONDS if fault.target == "sleeper" and nth > 0 else 0.0
                self._stopped.append((time.monotonic() + fault.seconds + longer, process))
            else:
                process.kill()
            return True
        return False

    def _stopped_in(self, home: Home) -> bool:
        ours = {process.pid for process in home.everything()}
        return any(process.pid in ours for _, process in self._stopped)
