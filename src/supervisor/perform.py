"""Carries out what `plan` asked for; every step comes back as the facts it made."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import actions as act
from . import events as ev
from .children import Child, Children
from .composition import Group
from .ears import jitter
from .last_words import words_of_death
from .probes import Probes
from .processes import Processes
from .roster import FAULTS, Roster
from .spawn import Spawner


class Performer:
    """Turns actions into effects. What cannot be done (no such process any more) makes no fact."""

    def __init__(
        self,
        processes: Processes,
        children: Children,
        spawner: Spawner,
        probes: Probes,
        home: Path,
    ) -> None:
        self._processes = processes
        self._children = children
        self._spawner = spawner
        self._probes = probes
        self._home = home

    def perform(self, action: act.Action, roster: Roster) -> Iterator[ev.Event]:
        now = time.monotonic()
        match action:
            case act.Spawn():
                yield from self._spawn(action, roster)
            case act.Go(group=group, slot=slot, serial=serial, claims=claims):
                if self._tell(serial, {"type": "go", "claims": claims}):
                    yield ev.Went(now, group, slot, serial)
            case act.Trim(group=group, slot=slot, serial=serial):
                if self._tell(serial, {"type": "trim"}):
                    yield ev.TrimSent(now, group, slot, serial)
            case act.Rest(group=group, slot=slot, serial=serial, rests=rests):
                if self._tell(serial, {"type": "stop-claiming" if rests else "claim-again"}):
                    yield ev.RestSent(now, group, slot, serial, rests)
            case act.Drain(group=group, slot=slot, serial=serial, cause=cause):
                if self._signal_stop(serial):
                    yield ev.DrainSent(now, group, slot, serial, cause)
            case act.Hurry(group=group, slot=slot, serial=serial):
                if self._signal_stop(serial):
                    yield ev.HurrySent(now, group, slot, serial)
            case act.Dump(group=group, slot=slot, serial=serial):
                child = self._children.by_serial(serial)
                if child is not None and child.pid is not None:
                    self._processes.send(child.pid, signal.SIGUSR2)
                    yield ev.DumpSent(now, group, slot, serial)
            case act.Kill(group=group, slot=slot, serial=serial, cause=cause):
                child = self._children.by_serial(serial)
                if child is not None and child.pid is not None:
                    self._processes.kill(child.pid)
                    yield ev.KillSent(now, group, slot, serial, cause)
            case act.Park(group=group, slot=slot):
                yield ev.Parked(now, group, slot)
            case act.Unpark(group=group, slot=slot):
                yield ev.Unparked(now, group, slot)
            case act.Retire(group=group, slot=slot):
                yield ev.Retired(now, group, slot)
            case act.Introduce(group=group, slot=slot, serial=serial):
                if (child := self._children.by_serial(serial)) is not None and self._introduce(child):
                    yield ev.Introduced(now, group, slot, serial)
            case act.TellLost():
                yield from self._tell_lost(action, roster, now)
            case act.AnnounceReady():
                yield ev.Booted(now)
            case act.FailReload(number=number, words=words, who=who):
                yield ev.ReloadFailed(now, number, words, who)
            case act.Commit(number=number):
                yield ev.Committed(now, number)
            case act.Finish(outcome=outcome):
                yield ev.StopAsked(now, outcome)

    def _spawn(self, action: act.Spawn, roster: Roster) -> Iterator[ev.Event]:
        if action.group not in roster.teams:
            return
        group, slot = roster.group(action.group, action.release), action.slot
        serial = self._spawner.next_serial()
        try:
            child = self._begin(group, slot, serial, roster)
        except OSError as error:
            now = time.monotonic()
            message = f"{error.strerror}: {error.filename or group.name}"
            fault = isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
            yield ev.SpawnFailed(now, group.name, slot, serial, message, fault=fault, jitter=jitter())
            return
        now = time.monotonic()
        yield ev.Spawned(
            now,
            group.name,
            slot,
            serial,
            child.pid,
            child.incarnation,
            action.replaces,
            action.release,
            child.template,
        )
        if group.ready.kind == "started":
            yield ev.BecameReady(now, group.name, slot, serial)
        elif group.ready.kind in ("command", "port"):
            self._probes.begin(child, now)  # "notify" is heard of by itself

    def _begin(self, group: Group, slot: int, serial: int, roster: Roster) -> Child:
        """A worker is forked from its template, a template from its spare where there is one; others are executed."""
        member = roster.ready_template(group.template or group.name)
        template = self._children.by_serial(member.serial) if member is not None else None
        if template is not None and template.channel is not None:
            return self._spawner.ask_fork(template, group, slot, serial)
        if group.kind == "pool":
            raise OSError(0, f"template {group.template} does not listen")
        child = self._spawner.execute(group, slot, serial)
        assert child.pid is not None
        self._processes.know(child.pid)
        return child

    def _tell(self, serial: int, message: dict[str, Any]) -> bool:
        child = self._children.by_serial(serial)
        if child is None:
            return False
        self._children.tell(child, message)
        return True

    def _signal_stop(self, serial: int) -> bool:
        child = self._children.by_serial(serial)
        if child is None or child.pid is None:
            return False
        self._processes.send(child.pid, signal.Signals[child.group.stop_signal])
        return True

    def _introduce(self, agent: Child) -> bool:
        """Pools first, then the living: whoever of this node is neither listed nor newer has lost its supervisor.

        Without a free descriptor it is tried again at the next round.
        """
        try:
            for name, (_, write_end) in self._spawner.wakes.items():
                self._children.tell(agent, {"type": "pool", "name": name}, (write_end,))
        except OSError:
            return False
        living = [child.incarnation for child in self._children if child.incarnation is not None]
        self._children.tell(
            agent, {"type": "alive", "incarnations": living, "next_serial": self._spawner.last_serial + 1}
        )
        return True

    def _tell_lost(self, action: act.TellLost, roster: Roster, now: float) -> Iterator[ev.Event]:
        agent = self._children.by_serial(roster.introduced)
        if agent is not None and agent.channel is not None:
            lost = action.lost
            message = {
                "type": "lost",
                "incarnation": lost.incarnation,
                "cause": str(lost.cause),
                "jobs_in_hand": lost.jobs_in_hand,
                "words": words_of_death(self._home, lost) if lost.cause in FAULTS else None,
            }
            self._children.tell(agent, message)
            yield ev.LostTold(now, lost.incarnation)
