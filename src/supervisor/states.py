"""Closed lists: why processes end, where slots stand, what the whole is doing."""

from __future__ import annotations

import enum


class Cause(enum.StrEnum):
    """Why a process ended, as far as the supervisor knows."""

    ASKED = "asked"  # a stop or restart that somebody asked for, or it left by itself in order
    RELOAD = "reload"  # replaced by a worker of another release, or a template that nobody needs any more
    SCALED = "scaled"  # its slot is no longer wanted
    LIFETIME = "lifetime"  # it was as old, or had done as many jobs, as its group allows
    MEMORY_SOFT = "memory-soft"  # replaced after it passed max_memory
    MEMORY_HARD = "memory-hard"  # killed because it passed max_memory_hard
    KERNEL_OOM = "kernel-oom"  # killed by the kernel for want of memory, as the cgroup counts it
    BOOT_ERROR = "boot-error"  # ended by itself before it was ready
    BOOT_TIMEOUT = "boot-timeout"  # killed because it was not ready in time
    CRASH = "crash"
    HUNG = "hung"  # killed because its heartbeat stopped
    DATABASE_AWAY = "database-away"  # exit 69
    PARENT_LOST = "parent-lost"  # its supervisor was killed, so that it left; the next supervisor tells of it


FAULTS = frozenset({Cause.MEMORY_HARD, Cause.KERNEL_OOM, Cause.BOOT_ERROR, Cause.BOOT_TIMEOUT, Cause.CRASH, Cause.HUNG})


RECYCLED = frozenset({Cause.MEMORY_SOFT, Cause.LIFETIME})  # nobody asked for these, and nothing failed


class Phase(enum.StrEnum):
    """Where a slot, or a process in it, stands."""

    EMPTY = "empty"  # nobody sits there (yet, or between two tries)
    STARTING = "starting"  # asked for or running, not ready
    READY = "ready"
    DRAINING = "draining"  # asked to leave; finishes what it has
    STOPPING = "stopping"  # killed; its end is awaited
    PARKED = "parked"  # given up until the next probe, a reset or a scale


class Progress(enum.StrEnum):
    """What the supervisor as a whole is doing, as `status` calls it."""

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"  # serves with less than was asked for
    WAITING = "waiting for database"
    RELOADING = "reloading"
    STOPPING = "stopping"
