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
from .roster import Roster
from .spawn import Spawner
from .state import last_serial
from .states import FAULTS

ToProcess = act.Go | act.Trim | act.Rest | act.Drain | act.Hurry | act.Dump | act.Kill
Decision = act.Park | act.Unpark | act.Retire | act.AnnounceReady | act.FailReload | act.Commit | act.Finish


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
        self._serial = last_serial(home)

    def perform(self, action: act.Action, roster: Roster) -> Iterator[ev.Event]:
        now = time.monotonic()
        match action:
            case act.Spawn():
                yield from self._spawn(action, roster)
            case act.TellLost():
                yield from self._tell_lost(action, roster, now)
            case act.Introduce(serial=serial):
                if self._introduce(serial, roster):
                    yield ev.Introduced(now, action.group, action.slot, serial)
            case (
                act.Park() | act.Unpark() | act.Retire() | act.AnnounceReady() | act.FailReload() | act.Commit()
                | act.Finish()
            ):  # fmt: skip
                yield _decided(action, now)
            case _:
                if (event := self._to_process(action, now)) is not None:
                    yield event

    def _to_process(self, action: ToProcess, now: float) -> ev.Event | None:
        """What is told, sent or done to one process; None where it is gone, or cannot hear now."""
        serial = action.serial
        who = (now, action.group, action.slot, serial)
        match action:
            case act.Go(claims=claims):
                return ev.Went(*who) if self._tell(serial, {"type": "go", "claims": claims}) else None
            case act.Trim():
                return ev.TrimSent(*who) if self._tell(serial, {"type": "trim"}) else None
            case act.Rest(rests=rests):
                told = self._tell(serial, {"type": "stop-claiming" if rests else "claim-again"})
                return ev.RestSent(*who, rests) if told else None
            case act.Drain(cause=cause):
                return ev.DrainSent(*who, cause) if self._signal_stop(serial) else None
            case act.Hurry():
                return ev.HurrySent(*who) if self._signal_stop(serial) else None
            case act.Dump():
                return ev.DumpSent(*who) if self._send(serial, signal.SIGUSR2) else None
            case act.Kill(cause=cause):
                child = self._children.by_serial(serial)
                if child is None or child.pid is None:
                    return None
                self._processes.kill(child.pid)
                return ev.KillSent(*who, cause)

    def _spawn(self, action: act.Spawn, roster: Roster) -> Iterator[ev.Event]:
        if action.group not in roster.teams:
            return
        group, slot = roster.group(action.group, action.release), action.slot
        self._serial = serial = self._serial + 1
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
        """What has a template is forked from it, a template from its spare. Where there is none they are executed,
        but for workers.
        """
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
        return child is not None and self._send(serial, signal.Signals[child.group.stop_signal])

    def _send(self, serial: int, number: signal.Signals) -> bool:
        child = self._children.by_serial(serial)
        if child is None or child.pid is None:
            return False
        self._processes.send(child.pid, number)
        return True

    def _introduce(self, serial: int, roster: Roster) -> bool:
        """Pools first, then the living: whoever of this node is neither listed nor newer has lost its supervisor.

        Of the lost each is told with its cause, which says whether it speaks against its jobs. Without a free
        descriptor it is tried again at the next round.
        """
        agent = self._children.by_serial(serial)
        if agent is None:
            return False
        try:
            for name, (_, write_end) in self._spawner.wakes.items():
                self._children.tell(agent, {"type": "pool", "name": name}, (write_end,))
        except OSError:
            return False
        living = [child.incarnation for child in self._children if child.incarnation is not None]
        lost = [lost.incarnation for lost in roster.lost]
        self._children.tell(agent, {"type": "alive", "incarnations": living, "lost": lost})
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


def _decided(action: Decision, now: float) -> ev.Event:
    """A judgement that needs no hands: it is a fact as soon as it is made."""
    match action:
        case act.Park(group=group, slot=slot):
            return ev.Parked(now, group, slot)
        case act.Unpark(group=group, slot=slot):
            return ev.Unparked(now, group, slot)
        case act.Retire(group=group, slot=slot):
            return ev.Retired(now, group, slot)
        case act.AnnounceReady():
            return ev.Booted(now)
        case act.FailReload(number=number, words=words, who=who):
            return ev.ReloadFailed(now, number, words, who)
        case act.Commit(number=number):
            return ev.Committed(now, number)
        case act.Finish(outcome=outcome):
            return ev.StopAsked(now, outcome)
