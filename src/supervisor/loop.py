"""The supervisor's loop: waits in one place, turns what happened into facts, applies, plans, performs."""

from __future__ import annotations

import os
import selectors
import signal
import time
from pathlib import Path
from typing import Any

from . import events as ev
from .apply import apply
from .askers import Asker, Askers, asker_of, sender_of, starter, stranger
from .census import Census
from .children import Children
from .commands import MUTATING, answer
from .composition import Composition
from .control import ControlServer, Request
from .ears import Ears
from .hangups import Hangups
from .history import exit_record
from .journal import Journal
from .keeper import Keeper
from .last_words import last_lines
from .leftovers import Leftovers
from .lock import open_alive, try_lock
from .machine import KernelKills, machine_memory
from .measure import Gauge
from .members import Words
from .notices import Notice, notices
from .perform import Performer
from .plan import judge
from .probes import Probes
from .processes import Processes, become_subreaper
from .readiness import Readiness
from .report import report
from .roster import Roster, new_roster
from .signals import Signals
from .spawn import Spawner
from .state import load_desired, load_parked
from .states import Cause
from .streams import Streams
from .wrapper import Wrapper

ALIVE_POLL_SECONDS = 0.05
LATE_SECONDS = 1.0  # so late, the machine or we were stopped, and the silence of others means nothing
ROUNDS_LIMIT = 1000  # of plan and perform without waiting; more would be a mistake in `plan`
STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


class Supervisor:
    """Runs a composition until it is stopped. Expects run/lock to be held. `starter` is closed once it has booted."""

    def __init__(self, composition: Composition, starter: int | None = None) -> None:
        self._home = composition.home_path
        self._policy = composition.policy
        self._cgroups = [Path(folder) for folder in composition.memory_cgroups]
        desired, parked = load_desired(self._home), load_parked(self._home)
        self._roster: Roster = new_roster(composition, desired, time.monotonic(), parked)
        self._journal = Journal(self._home / "logs" / "supervisor.log", foreground=composition.foreground)
        self._keeper = Keeper(self._home, self._journal)
        self._wrapper = Wrapper(starter)
        self._alive = open_alive(self._home / "run")
        longest = max((group.stop_timeout_seconds for group in composition.groups), default=0.0)
        self._alive_deadline = time.monotonic() + longest + self._policy.alive_slack_seconds
        self._selector = selectors.DefaultSelector()
        self._processes = Processes()
        self._streams = Streams()
        self._probes = Probes(self._processes)
        self._readiness = Readiness(self._selector, self._said_ready)
        self._gauge = Gauge(self._policy.sample_seconds)
        self._children = Children(self._selector, lambda child: self._ears.listen(child))
        self._ears = self._new_ears()
        self._spawner = Spawner(composition, self._children, self._streams, self._readiness, self._alive)
        self._leftovers = Leftovers(self._home, longest)
        self._performer = Performer(self._processes, self._children, self._spawner, self._probes, self._home)
        self._census = Census(self._home)
        self._memory_at = 0.0
        self._askers = Askers()
        self._noticed: list[Notice] = []
        self._hangups = Hangups(composition, self._processes, self._journal)
        self._looked_at = time.monotonic()
        self._listen()

    def _new_ears(self) -> Ears:
        return Ears(
            processes=self._processes,
            children=self._children,
            streams=self._streams,
            probes=self._probes,
            gauge=self._gauge,
            journal=self._journal,
            readiness=self._readiness,
            kernel=KernelKills(self._cgroups),
            on_other_end=lambda end: self._hangups.ended(end),
            roster=lambda: self._roster,
            record=self._record,
        )

    def _listen(self) -> None:
        """To signals, to whoever wraps us, and last by the socket, which shows that we are here, to commands."""
        self._signals = Signals()
        for descriptor in self._signals.descriptors:
            self._selector.register(descriptor, selectors.EVENT_READ, lambda _: self._take_signals())
        self._wrapper.listen(self._selector, lambda: self._take_stop(time.monotonic(), Asker("shutdown by PM2")))
        self._control = ControlServer(self._home / "run", self._selector, self._answer)

    def run(self) -> Words:
        """How it ended."""
        become_subreaper()
        self._journal.say("Started", version=self._roster.version, home=self._home, **starter().document())
        next_at = self._settle()
        while self._roster.stop_at is None or not all(team.is_empty for team in self._roster.teams.values()):
            self._wait(next_at)
            next_at = self._settle()
            self._wrapper.turn(time.monotonic(), self._roster, self._policy)
        return self._leave()

    def _leave(self) -> Words:
        self._processes.sweep()
        self._control.close()
        self._streams.close()
        self._readiness.close()
        self._spawner.close()
        self._selector.close()
        self._signals.close()
        os.close(self._alive)
        self._census.close()
        self._keeper.close()
        outcome = self._roster.outcome
        if outcome.speechless is not None and (lines := last_lines(self._home, *outcome.speechless)):
            outcome = Words(outcome.exit_code, f"{outcome.message}: {lines}")
        self._journal.say("Ended", exit_code=outcome.exit_code, message=outcome.message or None)
        self._journal.close()
        return outcome

    def _settle(self) -> float:
        """Plan and perform until nothing is left to do now; the instant at which there may be more."""
        for _ in range(ROUNDS_LIMIT):
            if time.monotonic() - self._looked_at > LATE_SECONDS:
                self._look(0.0)  # what others said while we were held up must count before they are judged
            judgement = judge(self._roster, self._policy, time.monotonic())
            done = False
            for action in judgement.actions:
                for event in self._performer.perform(action, self._roster):
                    if isinstance(event, ev.StopAsked):
                        self._askers.forget(Cause.ASKED)  # the end is our own judgement
                    self._record(event)
                    done = True
            if not done:
                return judgement.next_at
        self._journal.say("Restless", actions=str(judgement.actions)[:500])
        return time.monotonic() + LATE_SECONDS

    def _record(self, event: ev.Event) -> None:
        self._journal.record(event)
        if isinstance(event, ev.Exited):
            self._remember_exit(event)
        was_stopping, releases = self._roster.stop_at is not None, self._roster.last_number
        self._roster = apply(self._roster, event)
        if isinstance(event, ev.BecameReady) and self._roster.last_number != releases:
            self._askers.forget(Cause.RELOAD)  # other code than its predecessor's began it
        if isinstance(event, ev.GotAlone):
            self._keeper.keep_exits(*self._census.lost())
        if isinstance(event, ev.Spawned | ev.Exited):
            self._leftovers.note(child for child in self._children if child.group.kind != "pool")
        if isinstance(event, ev.Parked):
            self._keeper.keep_parked(self._roster.teams.values())
        if isinstance(event, ev.Committed):
            self._spawner.provide_wakes(self._roster.teams.values())
            self._keeper.keep_composition()
        self._wrapper.note(event, stops=not was_stopping and self._roster.stop_at is not None)

    def _remember_exit(self, event: ev.Exited) -> None:
        member = self._roster.member(event.group, event.slot, event.serial)
        if member is None:
            return
        asker = self._askers.of(event.group, member, event.cause) or stranger(event, member)
        curve = self._gauge.curve(member.pid)
        self._keeper.keep_exits(exit_record(event, member, asker, curve, self._policy.sample_seconds))

    # Waiting

    def _wait(self, next_at: float) -> None:
        before = time.monotonic()
        until = min(next_at, self._probes.next_at(), self._gauge.next_at, self._memory_at, self._wrapper.next_at())
        if self._awaits_alive or self._control.is_busy:
            until = min(until, before + ALIVE_POLL_SECONDS)
        now = self._look(max(0.0, until - before))
        self._streams.turn()
        for child in self._probes.turn(now):
            self._record(ev.BecameReady(now, child.group.name, child.slot, child.serial))
        self._control.drop_slow(now)
        self._try_alive(now)
        for child, usage in self._gauge.turn(now, self._children):
            self._record(ev.MemorySampled(now, child.group.name, child.slot, child.serial, usage))
        if now >= self._memory_at:
            self._notice()
            self._census.note(self._children)
            self._keeper.keep_parked(self._roster.teams.values())
            self._memory_at = now + self._policy.sample_seconds
            self._record(ev.MachineSampled(now, machine_memory(self._cgroups)))

    def _notice(self) -> None:
        """Say what somebody should look at, once while it lasts."""
        present = notices(self._roster, self._policy)
        for notice in present:
            if notice not in self._noticed:
                self._journal.say("Notice", slot=f"{notice.name}/{notice.slot}", message=notice.text)
        self._noticed = present

    def _look(self, timeout_seconds: float) -> float:
        """Wait for something to read and take it in; the instant at which it was there."""
        ready = self._selector.select(timeout_seconds)
        now = time.monotonic()
        late_seconds = now - self._looked_at - timeout_seconds
        self._looked_at = now
        for key, events in ready:
            key.data(events)
        if late_seconds > LATE_SECONDS:
            self._record(ev.Slept(now, round(late_seconds, 3)))
        return now

    @property
    def _awaits_alive(self) -> bool:
        return not self._roster.alone and self._roster.stop_at is None

    def _try_alive(self, now: float) -> None:
        if not self._awaits_alive:
            return
        if self._leftovers.are_gone(now) and try_lock(self._alive):
            self._record(ev.GotAlone(now))
        elif now > self._alive_deadline:
            path = self._home / "run" / "alive"
            message = f"processes of an earlier supervisor still hold {path}; `fuser {path}` names them"
            self._record(ev.StopAsked(now, Words(1, message)))

    def _said_ready(self, serial: int) -> None:
        child = self._children.by_serial(serial)
        if child is not None:
            self._record(ev.BecameReady(time.monotonic(), child.group.name, child.slot, serial))

    # Signals and commands

    def _take_signals(self) -> None:
        arrived = self._signals.take()
        for each in arrived:
            if each.number in STOP_SIGNALS:
                self._take_stop(time.monotonic(), sender_of(each))
        hangup = next((each for each in arrived if each.number == signal.SIGHUP), None)
        if hangup is not None and self._roster.stop_at is None:
            asker = sender_of(hangup)
            self._journal.say("Command", **asker.document())
            self._hangups.take(asker)
        if any(each.number == signal.SIGUSR1 for each in arrived):
            self._reopen()
        self._ears.reap()

    def _take_stop(self, now: float, asker: Asker) -> None:
        self._journal.say("Command", **asker.document())
        if self._roster.stop_at is None:
            asked = ev.StopAsked(now, Words(0, ""))
            self._askers.wished((asked,), asker)
            self._record(asked)
        elif self._roster.hurried_at is None:
            self._record(ev.Hurried(now))

    def _reopen(self) -> None:
        self._journal.reopen()
        collector = self._children.first_of("collector")
        if collector is not None:
            self._children.tell(collector, {"type": "reopen"})

    def _answer(self, request: Request) -> dict[str, Any]:
        now = time.monotonic()
        if request.command == "status":
            return {"ok": True, "status": self._report(now, sizes=request.arguments.get("sizes", True))}
        facts, response = answer(self._roster, self._policy, request, now)
        if request.command == "reopen":
            self._reopen()  # before the audit line, which shall stand in the new file
        if request.command in MUTATING:
            asker = asker_of(request)
            self._journal.say("Command", **asker.document(), refused=response.get("error"))
            self._askers.wished(facts, asker)
        for fact in facts:
            self._record(fact)
        if request.command == "reload" and facts:
            self._keeper.coming = Path(request.arguments["composition"])
        if request.command == "scale" and facts:
            note = self._keeper.keep_desired(self._roster.teams)
            response |= {"note": note} if note else {}
        return response

    def _report(self, now: float, *, sizes: bool) -> dict[str, Any]:
        """Private sizes cost milliseconds each, in which their owner stands still: not for one who only waits."""
        members = (member for team in self._roster.teams.values() for slot in team.slots for member in slot.members)
        private = self._gauge.measure_private(members) if sizes else {}
        return report(self._roster, self._policy, os.getpid(), now, private)
