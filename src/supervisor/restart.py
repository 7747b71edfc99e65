"""Why a process ended, and when its slot may try again. Pure."""

from __future__ import annotations

from ..contract import Exit as ExitCode
from .composition import Kind, Policy
from .members import Member, Slot
from .roster import Team
from .states import FAULTS, Cause


def cause_of(kind: Kind, member: Member, code: int | None, *, oom_killed: bool = False) -> Cause:
    """The cause of an end with this exit code, None for a signal. What we did to it explains it first."""
    if member.kill_cause is not None:
        return member.kill_cause
    if member.drain_cause is not None:
        return member.drain_cause
    if oom_killed:
        return Cause.KERNEL_OOM
    if code == ExitCode.UNREACHABLE:
        return Cause.DATABASE_AWAY
    if code == 0 and (kind == "once" or member.said_draining):
        return Cause.ASKED
    return Cause.BOOT_ERROR if member.ready_at is None and code is not None else Cause.CRASH


def is_unusable(slot: Slot) -> bool:
    """Its last process found the configuration unusable; trying again without a change is useless."""
    end = slot.last_exit
    return bool(slot.faults) and end is not None and end.code == ExitCode.UNUSABLE and end.cause in FAULTS


def must_park(team: Team, slot: Slot, policy: Policy) -> bool:
    """Whether this slot failed so often that trying on is a waste. Roles are never given up for crashing."""
    if slot.parked_at is not None or not slot.faults:
        return False
    if is_unusable(slot):
        return True
    if team.group.role:
        return False
    if slot.probing and all(fault.lived_seconds < policy.fault_window_seconds for fault in slot.faults):
        return True
    last = slot.faults[-1].at
    recent = sum(last - fault.at < policy.fault_window_seconds for fault in slot.faults)
    return recent >= policy.fault_limit


def probe_at(slot: Slot, policy: Policy) -> float:
    """When a parked slot is tried again; never where its configuration was unusable."""
    if slot.parked_at is None or is_unusable(slot):
        return float("inf")
    return slot.parked_at + policy.park_probe_seconds


def next_try_at(slot: Slot, policy: Policy) -> float:
    """The instant from which a new process may be started here: at once after a first fault, then later and later."""
    at = float("-inf")
    if slot.faults:
        fault = slot.faults[-1]
        delay = backoff_seconds(fault_streak(slot, policy) - 1, policy.backoff_limit_seconds, policy)
        at = fault.at + delay * fault.jitter
    if slot.absences:
        absence = slot.absences[-1]
        delay = backoff_seconds(len(slot.absences), policy.environment_backoff_limit_seconds, policy)
        at = max(at, absence.at + delay * absence.jitter)
    return at


def recycle_at(slot: Slot, member: Member, policy: Policy) -> float:
    """The instant from which this process may be replaced as planned: sooner and sooner is not planned any more.

    It serves on until then, so that a limit that is too low costs forks and no worker.
    """
    hasty = recycle_streak(slot, policy)
    if hasty < 2:
        return member.spawned_at
    delay = policy.recycle_backoff_seconds * 2.0 ** (hasty - 2)
    return member.spawned_at + min(delay, policy.recycle_backoff_limit_seconds)


def recycle_streak(slot: Slot, policy: Policy) -> int:
    """How many planned replacements followed each other, none of which had served for long."""
    streak = 0
    for recycle in reversed(slot.recycles):
        if recycle.lived_seconds >= policy.recycle_window_seconds:
            break
        streak += 1
    return streak


def fault_streak(slot: Slot, policy: Policy) -> int:
    """How many faults followed each other without a process that lived a whole window."""
    streak = 0
    for fault in reversed(slot.faults):
        streak += 1
        if fault.lived_seconds >= policy.fault_window_seconds:
            break
    return streak


def backoff_seconds(tries: int, limit_seconds: float, policy: Policy) -> float:
    """The longest wait before the next try: 0 after no try, then 0.5, 1, 2 ... `limit_seconds`."""
    return min(policy.backoff_seconds * 2.0 ** (tries - 1), limit_seconds) if tries > 0 else 0.0
