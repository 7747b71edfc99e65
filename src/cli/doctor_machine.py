"""Pure: what to say about cores, memory, swap, descriptors, the home and its disk."""

from __future__ import annotations

from collections.abc import Iterator

from .doctor_facts import Finding, HomeState, Machine, Packages, Wanted
from .plain import size

DESCRIPTORS_FIXED = 64  # of a supervisor without workers, with room for callers
DESCRIPTORS_PER_WORKER = 4  # channel, stdout, stderr, and one while it is forked
DESCRIPTORS_PER_JOB = 8  # of a worker: files and connections of a handler
MEMORY_SHARE_WITHOUT_SWAP = 0.9
SWAP_SHARE_USED = 0.5
FREE_WARNING_BYTES = 1024**3
FREE_ERROR_BYTES = 100 * 1024**2
FSYNC_WARNING_SECONDS = 0.05


def judge_cores(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    cores, reserved, workers = machine.usable_cores, wanted.reserved_cores, wanted.workers
    limited = f" (a control group allows {cores} of {machine.affinity_cores})" if cores < machine.affinity_cores else ""
    text = f"{cores} usable{limited}, {reserved} reserved, {workers} workers"
    if reserved >= cores:
        yield Finding("warning", "cores", text, f"reserved_cores leaves none: set it below {cores}")
    elif workers > 4 * cores:
        yield Finding("warning", "cores", text, "more than four workers a core: raise concurrency instead of instances")
    else:
        yield Finding("ok", "cores", text)
    for pool in wanted.pools:
        if pool.foreign_cores:
            names = ", ".join(map(str, pool.foreign_cores))
            yield Finding("warning", "cores", f"affinity of {pool.name} names cores that are not ours to use: {names}",
                          "its workers run wherever they may: name others")  # fmt: skip


def judge_apps(wanted: Wanted) -> Iterator[Finding]:
    for name, program in wanted.missing_programs:
        yield Finding("error", "apps", f"{name}: there is no program {program}",
                      "install it, or write its whole path in `command`")  # fmt: skip


def judge_memory(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    usable = machine.usable_memory_bytes
    where = "the control group's" if usable < machine.memory_bytes else "the machine's"
    too_high = [pool for pool in wanted.pools if pool.instances and pool.max_memory_bytes > usable]
    for pool in too_high:
        text = f"max_memory of {pool.name} is {size(pool.max_memory_bytes)}, over {where} {size(usable)}"
        yield Finding("error", "memory", text, "the kernel would kill first: lower max_memory")
    total = sum(pool.instances * pool.max_memory_bytes for pool in wanted.pools)
    text = f"limits of {wanted.workers} workers sum to {size(total)} of {where} {size(usable)}"
    if total > usable and not too_high:
        yield Finding("warning", "memory", text, "if all grow at once the kernel kills: lower max_memory or instances")
    elif not too_high:
        yield Finding("ok", "memory", text)


def judge_swap(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    used, total = machine.swap_used_bytes, machine.swap_bytes
    if total == 0:
        limits = sum(pool.instances * pool.max_memory_bytes for pool in wanted.pools)
        if limits > MEMORY_SHARE_WITHOUT_SWAP * machine.usable_memory_bytes:
            advice = "a peak is killed at once: add a swap file of 1GB, or lower max_memory"
            yield Finding("warning", "swap", "none, and the workers' limits fill the memory", advice)
        else:
            yield Finding("ok", "swap", "none; the workers' limits leave room")
    elif used > SWAP_SHARE_USED * total and machine.available_bytes < 0.1 * machine.memory_bytes:
        text = f"{size(used)} of {size(total)} used, {size(machine.available_bytes)} of memory available"
        yield Finding("warning", "swap", text, "the machine is short of memory: fewer workers, or a larger machine")
    else:
        yield Finding("ok", "swap", f"{size(used)} of {size(total)} used")


def judge_descriptors(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    hard = machine.descriptors_hard
    busiest = max((pool.concurrency for pool in wanted.pools), default=0)
    needed = max(
        DESCRIPTORS_FIXED + DESCRIPTORS_PER_WORKER * wanted.workers,
        DESCRIPTORS_FIXED + DESCRIPTORS_PER_JOB * busiest,
    )
    if hard is not None and hard < needed:
        text = f"at most {hard} open files, {needed} are needed for {wanted.workers} workers of {busiest} jobs"
        yield Finding("error", "ulimits", text, f"raise it: `ulimit -Hn {needed}`, LimitNOFILE= in the systemd unit")
    else:
        yield Finding("ok", "ulimits", f"{'no limit of' if hard is None else hard} open files, {needed} are needed")


def judge_home(home: HomeState) -> Iterator[Finding]:
    if not home.exists:
        yield Finding("ok", "home", f"{home.path} is not there yet; `workerctl start` makes it")
        return
    if home.owner_uid != home.own_uid:
        text = f"{home.path} belongs to uid {home.owner_uid}, this is uid {home.own_uid}"
        yield Finding("warning", "home", text, "run every command as one user, the one that runs the supervisor")
    if home.mode & 0o077:
        text = f"{home.path} has mode {home.mode:04o}: others may look into it"
        yield Finding("error", "home", text, f"chmod 700 {home.path}")
    for name in home.open_to_others:
        yield Finding("error", "home", f"{name} holds secrets and is open to others", f"chmod 600 {name}")
    if home.owner_uid == home.own_uid and not home.mode & 0o077 and not home.open_to_others:
        yield Finding("ok", "home", f"{home.path}, mode {home.mode:04o}")


def judge_disk(home: HomeState, wanted: Wanted) -> Iterator[Finding]:
    free = home.free_bytes
    if free < FREE_ERROR_BYTES:
        yield Finding("error", "disk", f"{size(free)} free below {home.path}", "make room: nothing can be written soon")
    elif free < FREE_WARNING_BYTES:
        yield Finding("warning", "disk", f"{size(free)} free below {home.path}", "make room, or `workerctl flush`")
    elif wanted.log_bytes > free:
        text = f"{size(free)} free, the logs may grow to {size(wanted.log_bytes)}"
        yield Finding("warning", "disk", text, "lower [logs] max_total")
    else:
        yield Finding("ok", "disk", f"{size(free)} free")
    if home.fsync_seconds is None:
        yield Finding("error", "disk", home.problem, "the home must be writable for the one who starts workerctl")
    elif home.fsync_seconds > FSYNC_WARNING_SECONDS:
        cost = "every commit of the embedded database waits for it" if wanted.embedded else "state is written with it"
        text = f"fsync takes {home.fsync_seconds * 1000:.0f} ms; {cost}"
        yield Finding("warning", "disk", text, "put the home on a faster disk")
    else:
        yield Finding("ok", "disk", f"fsync takes {home.fsync_seconds * 1000:.1f} ms")


def judge_packages(packages: Packages, wanted: Wanted) -> Iterator[Finding]:
    if wanted.embedded and packages.embedded_problem:
        yield Finding("error", "embedded", packages.embedded_problem)
    elif wanted.embedded:
        yield Finding("ok", "embedded", "PostgreSQL's programs are there")
    if packages.shipped and not packages.jieba:
        advice = "pip install 'workerctl[content]', or [jobs] shipped = false"
        yield Finding("warning", "extras", "jieba is missing: no characters are found in Chinese novels", advice)
    else:
        yield Finding("ok", "extras", "everything that is switched on is installed")
