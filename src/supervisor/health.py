"""Whether the whole serves: what is up, how a boot ended, the word that `status` shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ..contract import Exit as ExitCode
from .clock import Clock
from .composition import Policy
from .members import Slot, Words, describe
from .restart import fault_streak, is_unusable
from .roster import Roster, Team
from .states import Cause, Progress

UNAWAITED = frozenset({"collector", "agent"})  # pipes keep what is said before, workers ask the queue themselves
BOOT_SLACK_SECONDS = 1.0  # between the kill of a process that is not ready in time and the verdict on its group


def groups_up(roster: Roster) -> frozenset[str]:
    """The groups whose wanted members are all ready, and were allowed to start."""
    up: set[str] = set()
    for name, team in roster.teams.items():
        if team.all_ready and (team.opened_at is not None or all(other in up for other in team.group.after)):
            up.add(name)
    return frozenset(up)


def may_spawn(roster: Roster, team: Team, up: frozenset[str]) -> bool:
    """A group starts after the others; later replacements need nothing, but workers their template."""
    if team.retired or (team.group.kind == "pool" and roster.ready_template(team.group.template) is None):
        return False
    return team.opened_at is not None or all(
        name in up or _need_not_wait(roster, team, name) for name in team.group.after
    )


def may_go(roster: Roster, team: Team) -> bool:
    """Whether workers of this pool may go to the queue: the migrations have been made."""
    before = (roster.teams[name] for name in team.group.after if name in roster.teams)
    return all(other.all_ready for other in before if other.group.kind == "once")


def _need_not_wait(roster: Roster, team: Team, name: str) -> bool:
    is_ours = team.group.role or team.group.kind == "pool"
    if not is_ours or name not in roster.teams:
        return False
    kind = roster.teams[name].group.kind
    return kind in UNAWAITED or (kind == "once" and _is_rehearsed(roster, team))


def _is_rehearsed(roster: Roster, team: Team) -> bool:
    """Then migrations have nothing to do, and workers are forked meanwhile; that they go to the queue has to wait."""
    template = roster.ready_template(team.group.template) if team.group.kind == "pool" else None
    return template is not None and template.rehearsed


def boot_verdict(roster: Roster, policy: Policy, clock: Clock) -> Words | None:
    """How the boot ended, or None while it goes on. Exit code 0: it serves, at least in part; else everything stops."""
    given_up: set[str] = set()
    undecided = False
    for name, team in roster.teams.items():
        if team.all_ready and (team.opened_at is not None or not team.slots):
            continue
        if team.group.role:
            return _fatal(team, roster, policy)
        if _is_decided(team, clock) or not given_up.isdisjoint(team.group.after):
            given_up.add(name)
        else:
            undecided = True
    return None if undecided else _verdict_on_workers(roster)


def progress(roster: Roster, policy: Policy) -> Progress:
    if roster.stop_at is not None:
        return Progress.STOPPING
    if _waits_for_database(roster):
        return Progress.WAITING
    if roster.booted_at is None:
        return Progress.STARTING
    if roster.reload is not None:
        return Progress.RELOADING
    slots = [slot for team in roster.teams.values() for slot in team.wanted]
    failing = any(
        slot.parked_at is not None
        or (
            not slot.is_ready
            and (slot.absences or fault_streak(slot, policy) > 1 or (not slot.was_ready and slot.faults))
        )
        for slot in slots
    )
    return Progress.DEGRADED if failing else Progress.RUNNING


def all_workers_parked(roster: Roster) -> bool:
    slots = [slot for team in _pools(roster) for slot in team.wanted]
    return bool(slots) and all(slot.parked_at is not None and not slot.members for slot in slots)


def _fatal(team: Team, roster: Roster, policy: Policy) -> Words | None:
    """Why a role that was never ready ends the boot, or None where another try may help."""
    for slot in team.slots:
        end = slot.last_exit
        if slot.was_ready or not (slot.faults or slot.absences):
            continue
        if is_unusable(slot):
            return _words(team, slot, ExitCode.UNUSABLE)
        if slot.absences and end is not None and end.cause is Cause.DATABASE_AWAY:
            if not roster.foreground:
                return _words(team, slot, ExitCode.UNREACHABLE)
            continue
        ended_itself = end is not None and end.code is not None and bool(slot.faults)
        hopeless = end is not None and end.cause is Cause.BOOT_TIMEOUT
        if (team.group.kind in ("once", "template") and ended_itself) or hopeless:
            return _words(team, slot, ExitCode.FAILED)
        if len(slot.faults) >= policy.fault_limit:
            return _words(team, slot, ExitCode.FAILED)
    return None


def _is_decided(team: Team, clock: Clock) -> bool:
    """Every slot is ready or was given up, or the time for it is over."""
    if all(slot.is_ready or slot.parked_at is not None for slot in team.wanted):
        return True
    if team.opened_at is None:
        return False
    return clock.reached(team.opened_at + team.group.boot_timeout_seconds + BOOT_SLACK_SECONDS)


def _verdict_on_workers(roster: Roster) -> Words | None:
    teams = [team for team in _pools(roster) if team.desired]
    teams = teams or [team for team in roster.teams.values() if not team.group.role and team.desired]
    if not teams or any(slot.is_ready for team in teams for slot in team.wanted):
        return Words(0, "")
    ends = [(team, slot, slot.last_exit) for team in teams for slot in team.wanted if slot.last_exit is not None]
    if not ends:
        return Words(ExitCode.FAILED, f"{teams[0].group.name}: none of the workers became ready in time")
    away = [(team, slot) for team, slot, end in ends if end.cause is Cause.DATABASE_AWAY]
    if away:
        return None if roster.foreground else _words(*away[0], ExitCode.UNREACHABLE)
    unusable = all(end.code == ExitCode.UNUSABLE for _, _, end in ends)
    return _words(ends[0][0], ends[0][1], ExitCode.UNUSABLE if unusable else ExitCode.FAILED)


def _words(team: Team, slot: Slot, exit_code: int) -> Words:
    name, end = team.group.name, slot.last_exit
    if end is None:
        return Words(exit_code, f"{name} could not be started")
    if end.cause is Cause.BOOT_TIMEOUT:
        return Words(exit_code, f"{name} was not ready within {team.group.boot_timeout_seconds:g} s and was killed")
    if end.message:
        return Words(exit_code, end.message)
    return Words(exit_code, f"{name} {describe(end)}", (name, slot.number, end.serial))


def _waits_for_database(roster: Roster) -> bool:
    """Nobody serves because the database does not answer."""
    workers = [slot for team in _pools(roster) for slot in team.wanted]
    serving = [member for slot in workers for member in slot.members if member.is_ready]
    if serving:
        return not any(member.work.database for member in serving)
    if any(not member.work.database for slot in workers for member in slot.members):
        return True  # who starts meanwhile says so, too
    slots: Iterable[Slot] = (slot for team in roster.teams.values() for slot in team.wanted)
    return any(
        bool(slot.absences) and slot.last_exit is not None and slot.last_exit.cause is Cause.DATABASE_AWAY
        for slot in slots
        if not slot.is_ready
    )


def _pools(roster: Roster) -> list[Team]:
    return [team for team in roster.teams.values() if team.group.kind == "pool"]
