"""What one supervisor runs: the groups that the CLI composed, and the numbers that judge them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from ..contract import HUNG_SECONDS, Unusable

Kind = Literal["command", "once", "template", "collector", "agent", "pool"]
ReadyKind = Literal["channel", "exit", "started", "command", "port", "notify"]


class Node(msgspec.Struct, frozen=True):
    """The machine as the database and `status` name it."""

    id: str
    host: str
    cores: int
    reserved_cores: int = 0


class Ready(msgspec.Struct, frozen=True):
    """How a group's process shows that it serves."""

    kind: ReadyKind = "channel"
    """channel: it says `ready` · exit: it ended with 0 (kind once) · started: at once · command: the probe exits 0 ·
    port: something on this machine accepts a connection · notify: it says READY=1 as services of systemd do."""
    command: tuple[str, ...] = ()
    port: int = 0
    interval_seconds: float = 0.05


class Group(msgspec.Struct, frozen=True):
    """A named set of slots that run the same thing."""

    name: str
    kind: Kind
    command: tuple[str, ...] = ()  # empty for a pool: its template forks
    role: bool = False  # ours: inherits run/alive, is listed under "roles", never parks for crashing
    env: dict[str, str] = {}  # added to the supervisor's own environment
    cwd: str | None = None
    after: tuple[str, ...] = ()
    ready: Ready = Ready()
    template: str | None = None  # the group that forks this pool's workers; of a role: that forks it where it is ready
    instances: int = 1
    max_memory_bytes: int | None = None
    max_memory_hard_bytes: int | None = None
    stop_timeout_seconds: float = 30.0
    boot_timeout_seconds: float = 60.0
    stop_signal: str = "SIGTERM"
    cores: tuple[int, ...] | None = None  # affinity; None: every core
    nice: int = 0
    lifetime_seconds: float = 0.0  # a process that is so old, give or take 10 %, is replaced; 0: never
    max_jobs: int = 0  # a worker that has done so many is replaced; 0: never


class Policy(msgspec.Struct, frozen=True):
    """The numbers of `plan`; the defaults are the product's, tests shorten them."""

    hung_seconds: float = HUNG_SECONDS
    dump_seconds: float = 0.3  # between the order to dump all stacks and the kill of a hung worker
    hurry_seconds: float = 1.0  # what is left of a drain after the second signal
    fault_limit: int = 5  # so many faults within the window park a slot
    fault_window_seconds: float = 60.0
    backoff_seconds: float = 0.5
    backoff_limit_seconds: float = 60.0
    environment_backoff_limit_seconds: float = 15.0  # exit 69: the database may be back any moment
    park_probe_seconds: float = 300.0
    recycle_window_seconds: float = 60.0  # a planned replacement that comes sooner is hasty: a loop, where it repeats
    recycle_backoff_seconds: float = 2.0
    recycle_backoff_limit_seconds: float = 30.0  # below the window, so that a loop stays one
    recycle_warning: int = 3  # so many hasty ones in a row are told
    surge_fraction: float = 0.2  # of all workers, at least one: away or being replaced at once, whatever the reason
    probation_seconds: float = 3.0  # so long the first worker of a new release must serve before a second is touched
    memory_samples: int = 2  # so many samples in a row over the limit replace a worker
    sample_seconds: float = 2.0
    trim_again_seconds: float = 300.0  # a worker over the limit is asked to give memory back, then replaced
    memory_low_fraction: float = 0.1  # of the memory there is: less, and the heaviest worker claims no more
    memory_back_fraction: float = 0.15  # more, and one that rests claims again
    memory_stalled_percent: float = 10.0  # of the time lost to want of memory: more, and the heaviest rests as well
    memory_moves_percent: float = 2.0  # less, and one that rests claims again
    lost_repeat_seconds: float = 1.0
    release_wait_seconds: float = 5.0  # a stopping agent may take so long to release the last workers
    alive_slack_seconds: float = 10.0  # beyond the longest stop timeout, for an earlier set to leave
    instance_limit: int = 512
    connection_limit: int | None = None
    connections_per_worker: int = 1
    connections_fixed: int = 0  # agent, command line, migrations

    def surge(self, workers: int) -> int:
        """How many of so many workers, of all pools together, may be away or doubled at once."""
        return max(1, int(workers * self.surge_fraction)) if workers else 0

    def connections(self, workers: int) -> int:
        """What so many workers and all the others need at the most, while some are replaced."""
        return (workers + self.surge(workers)) * self.connections_per_worker + self.connections_fixed


class Composition(msgspec.Struct, frozen=True):
    """run/composition.json."""

    home: str
    node: Node
    groups: tuple[Group, ...]
    version: str
    release: str = ""
    config: str | None = None
    policy: Policy = Policy()
    # What SIGHUP runs, with who sent it as its last word: it composes anew and asks for a reload
    reload_command: tuple[str, ...] = ()
    project: str | None = None  # the folder it runs in
    memory_cgroups: tuple[str, ...] = ()  # folders whose memory limits bind us, innermost first
    foreground: bool = False  # keeps waiting for a database; else `start` is told and everything stops
    exit_when_all_parked: bool = False
    only: tuple[str, ...] = ()  # the pools that `start` was told to run; none: all, and what a reload adds

    @property
    def home_path(self) -> Path:
        return Path(self.home)


def load_composition(path: Path) -> Composition:
    """Raises Unusable where the file is missing, is not a composition, or names groups that do not fit together."""
    try:
        composition = msgspec.json.decode(path.read_bytes(), type=Composition)
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}; `workerctl start` writes it") from error
    except msgspec.DecodeError as error:
        raise Unusable(f"{path}: {error}; `workerctl start` writes it") from error
    _check(composition, path)
    return composition


def save_composition(composition: Composition, path: Path) -> None:
    """Written with mode 0600: the environment of a group may hold secrets."""
    from .state import write_atomically

    write_atomically(path, msgspec.json.format(msgspec.json.encode(composition), indent=1), durable=False)


def _check(composition: Composition, path: Path) -> None:
    seen: dict[str, Group] = {}
    for group in composition.groups:  # a group comes later than what it is after, so that no circle is possible
        if group.name in seen:
            raise Unusable(f"{path}: two groups are named {group.name!r}; names are unique")
        missing = [name for name in group.after if name not in seen]
        if missing:
            raise Unusable(f"{path}: {group.name} is after {missing[0]!r}, which does not come before it")
        if group.kind == "pool" and (group.template not in group.after or group.template is None):
            raise Unusable(f"{path}: pool {group.name} must be after its template ({group.template!r})")
        if group.kind != "pool" and not group.command:
            raise Unusable(f"{path}: {group.name} has no command")
        if (group.kind == "once") != (group.ready.kind == "exit"):
            raise Unusable(
                f"{path}: {group.name} is kind {group.kind!r} with ready {group.ready.kind!r}: once means exit"
            )
        if group.instances < 0 or (group.kind != "pool" and not group.role and group.instances < 1):
            raise Unusable(f"{path}: {group.name} has {group.instances} instances")
        seen[group.name] = group
