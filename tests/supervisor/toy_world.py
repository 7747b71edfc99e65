"""A simulated machine: actions make processes that boot, beat, obey and misbehave in simulated time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from workerctl.supervisor import actions as act
from workerctl.supervisor import events as ev
from workerctl.supervisor.apply import apply
from workerctl.supervisor.composition import Composition, Group, Node, Policy, Ready
from workerctl.supervisor.living import BEATING
from workerctl.supervisor.members import Member, Slot, Usage, Work
from workerctl.supervisor.plan import judge, plan
from workerctl.supervisor.reload_asked import begin
from workerctl.supervisor.restart import cause_of
from workerctl.supervisor.roster import Roster, Team, new_roster
from workerctl.supervisor.states import FAULTS

POLICY = Policy()
BEAT_SLACK_SECONDS = 1.0  # beats come just in time and all at once, so that hours pass quickly
ROLE = {"role": True, "command": ("x",)}
HOUSE = (
    Group("collector", "collector", **ROLE),
    Group("postgres", "command", ready=Ready("command", ("probe",)), after=("collector",), **ROLE),
    Group("migrate", "once", ready=Ready("exit"), after=("postgres",), **ROLE),
    Group("template", "template", after=("migrate",), **ROLE),
    Group("agent", "agent", after=("migrate",), **ROLE),
    Group("default", "pool", template="template", after=("template", "agent"), instances=4, max_memory_bytes=100),
    Group("web", "command", command=("web",), after=("default",)),
)
POOL = (
    Group("template", "template", **ROLE),
    Group("default", "pool", template="template", after=("template",), instances=4, max_memory_bytes=100),
)


def roster_of(groups: Iterable[Group] = HOUSE, **fields: object) -> Roster:
    composition = Composition("/home", Node("n" * 36, "box", 4), tuple(groups), "0.1.0", **fields)
    return new_roster(composition, {}, 0.0)


class World:
    """Performs what `plan` asks for. `quietly` false: processes boot, beat and leave by themselves."""

    def __init__(
        self, groups: Iterable[Group] = HOUSE, policy: Policy = POLICY, seed: int = 0, **fields: object
    ) -> None:
        self.policy = policy
        self.groups = tuple(groups)
        self.roster = apply(roster_of(self.groups, **fields), ev.GotAlone(0.0))
        self.now = 0.0
        self.performed: list[tuple[float, act.Action, Roster]] = []  # and the roster as it was before
        self.boots_in: Callable[[str], float | None] = lambda _: 0.1  # None: never ready
        self.drains_in: Callable[[str], float | None] = lambda _: 0.2  # None: ignores the signal
        self.fails: Callable[[str], int | None] = lambda _: None  # exit code instead of becoming ready
        self.release_fails: Callable[[str, int], int | None] = lambda kind, number: None
        self.on_settled: Callable[[], None] = lambda: None
        self.forks_answered = True
        self.silent: set[int] = set()  # serials of processes that are stopped: only a kill ends them
        self.code = ""  # fingerprint of what a template that is executed now would import
        self._random = random.Random(seed)
        self._serials = itertools.count(1)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    # What tests do

    def run(self, seconds: float) -> World:
        """Simulated time passes; whatever becomes due happens."""
        end = self.now + seconds
        self.settle()
        while True:
            due = min(self._queue[0][0] if self._queue else end, self._next_at, end)
            self.now = max(self.now, due)
            while self._queue and self._queue[0][0] <= self.now:
                heapq.heappop(self._queue)[2]()
            self.settle()
            if self.now >= end:
                return self

    def happen(self, event: ev.Event) -> None:
        self.roster = apply(self.roster, event)

    def settle(self) -> None:
        for _ in range(500):
            judgement = judge(self.roster, self.policy, self.now)
            self._next_at = judgement.next_at
            assert judgement.next_at > self.now
            if not judgement.actions:
                self.on_settled()
                return
            for action in judgement.actions:
                self.performed.append((self.now, action, self.roster))
                self._perform(action)
        raise AssertionError(f"never comes to rest: {plan(self.roster, self.policy, self.now)}")

    def members(self, group: str | None = None) -> list[tuple[Team, Slot, Member]]:
        return [
            (team, slot, member)
            for name, team in self.roster.teams.items()
            if group in (None, name)
            for slot in team.slots
            for member in slot.members
        ]

    def end(self, team: Team, slot: Slot, member: Member, code: int | None, signal: int | None = None) -> None:
        current = self.roster.member(team.group.name, slot.number, member.serial)
        if current is None:
            return
        cause = cause_of(team.group.kind, current, code)
        name = team.group.name
        before = self.roster.slot(name, slot.number)
        self.happen(ev.Exited(self.now, name, slot.number, member.serial, code, signal, cause, self._random.random()))
        after = self.roster.slot(name, slot.number)
        if before is not None and after is not None and cause not in FAULTS:
            assert after.faults == before.faults, f"{cause} was booked as a fault"
        if team.group.kind == "template":
            for other, seat, waiting in self.members():
                if waiting.template == member.serial and waiting.pid is None:
                    self.happen(ev.ForkLost(self.now, other.group.name, seat.number, waiting.serial))

    def fatten(self, team: Team, slot: Slot, member: Member, rss_bytes: int) -> None:
        self.happen(ev.MemorySampled(self.now, team.group.name, slot.number, member.serial, Usage(rss_bytes)))

    def phases(self, group: str = "default") -> list[str]:
        return [str(slot.phase) for slot in self.roster.teams[group].slots]

    def spawns(self, group: str = "default") -> list[float]:
        return [at for at, action, _ in self.performed if isinstance(action, act.Spawn) and action.group == group]

    # What the machine does

    def reload(self, name: str | None = None) -> int:
        """Somebody asks for a reload of everything, or of one pool or app; the number of the new release."""
        composition = Composition("/home", Node("n" * 36, "box", 4), self.groups, "0.1.0", "/srv/app")
        event = begin(self.roster, composition, name, {}, self.now)
        self.happen(event)
        return event.number

    def _later(self, seconds: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), step))

    def _perform(self, action: act.Action) -> None:
        match action:
            case act.Spawn():
                self._spawn(action)
            case act.Go():
                self.happen(ev.Went(self.now, action.group, action.slot, action.serial))
            case act.Trim():
                self.happen(ev.TrimSent(self.now, action.group, action.slot, action.serial))
            case act.Rest():
                self.happen(ev.RestSent(self.now, action.group, action.slot, action.serial, action.rests))
            case act.Drain():
                self.happen(ev.DrainSent(self.now, action.group, action.slot, action.serial, action.cause))
                seconds = self.drains_in(action.group)
                if seconds is not None:
                    self._end_in(seconds, action, 0)
            case act.Hurry():
                self.happen(ev.HurrySent(self.now, action.group, action.slot, action.serial))
            case act.Dump():
                self.happen(ev.DumpSent(self.now, action.group, action.slot, action.serial))
            case act.Kill():
                self.happen(ev.KillSent(self.now, action.group, action.slot, action.serial, action.cause))
                self._end_in(0.01, action, None, 9)
            case act.Park():
                self.happen(ev.Parked(self.now, action.group, action.slot))
            case act.Unpark():
                self.happen(ev.Unparked(self.now, action.group, action.slot))
            case act.Retire():
                self.happen(ev.Retired(self.now, action.group, action.slot))
            case act.Introduce():
                self.happen(ev.Introduced(self.now, action.group, action.slot, action.serial))
            case act.TellLost():
                self.happen(ev.LostTold(self.now, action.lost.incarnation))
                self._later(0.05, lambda: self.happen(ev.Released(self.now, action.lost.incarnation, 0)))
            case act.AnnounceReady():
                self.happen(ev.Booted(self.now))
            case act.FailReload():
                self.happen(ev.ReloadFailed(self.now, action.number, action.words, action.who))
            case act.Commit():
                self.happen(ev.Committed(self.now, action.number))
            case act.Finish():
                self.happen(ev.StopAsked(self.now, action.outcome))

    def _spawn(self, action: act.Spawn) -> None:
        serial = next(self._serials)
        group = self.roster.group(action.group, action.release)
        template = self.roster.ready_template(group.template or group.name)
        if template is None and group.kind == "pool":  # it was asked to leave in the same round
            chance = self._random.random()
            who = (self.now, action.group, action.slot, serial)
            self.happen(ev.SpawnFailed(*who, "no template", fault=False, jitter=chance))
            return
        forked = template is not None
        incarnation = f"n.{serial}" if group.kind == "pool" else None
        who = (self.now, action.group, action.slot, serial)
        asked = template.serial if template is not None else None
        pid = None if forked else 1000 + serial
        self.happen(ev.Spawned(*who, pid, incarnation, action.replaces, action.release, asked))
        if forked and self.forks_answered and asked not in self.silent:
            seat = (action.group, action.slot, serial)
            self._later(0.004, lambda: self.happen(ev.Forked(self.now, *seat, 1000 + serial)))
        code = 0 if group.kind == "once" else self.fails(action.group) or self.release_fails(group.kind, action.release)
        seconds = self.boots_in(action.group)
        if seconds is not None and code is not None:
            self._end_in(seconds, replace_serial(action, serial), code)
        elif seconds is not None:
            self._later(seconds, lambda: self._ready(action.group, action.slot, serial))

    def _ready(self, group: str, slot: int, serial: int) -> None:
        member = self.roster.member(group, slot, serial)
        if member is not None and member.pid is not None and serial not in self.silent:
            team = self.roster.teams[group]
            executed = team.group.kind == "template" and member.template is None
            self.happen(ev.BecameReady(self.now, group, slot, serial, self.code if executed else team.fingerprint))
            self._beat(group, slot, serial)

    def _beat(self, group: str, slot: int, serial: int) -> None:
        member = self.roster.member(group, slot, serial)
        if member is None or member.kill_at is not None or serial in self.silent:
            return
        if self.roster.teams[group].group.kind in BEATING:
            self.happen(ev.Heartbeat(self.now, group, slot, serial, replace(member.work)))
            period = self.policy.hung_seconds - BEAT_SLACK_SECONDS
            in_seconds = (self.now // period + 1) * period - self.now
            self._later(in_seconds, lambda: self._beat(group, slot, serial))

    def _end_in(self, seconds: float, who: act.Drain | act.Kill, code: int | None, signal: int | None = None) -> None:
        def end() -> None:
            if signal is None and who.serial in self.silent:
                return
            team, slot = self.roster.teams.get(who.group), self.roster.slot(who.group, who.slot)
            member = self.roster.member(who.group, who.slot, who.serial)
            if team is not None and slot is not None and member is not None:
                self.end(team, slot, member, code, signal)

        self._later(seconds, end)


def replace_serial(action: act.Spawn, serial: int) -> act.Hurry:
    """The address of the process that this spawn made."""
    return act.Hurry(action.group, action.slot, serial)


def busy(world: World, slot: int, jobs: int) -> None:
    """The worker in this slot says how many jobs it runs."""
    for team, seat, member in world.members("default"):
        if seat.number == slot:
            world.happen(ev.Heartbeat(world.now, team.group.name, slot, member.serial, Work(jobs_running=jobs)))
