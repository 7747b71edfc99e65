"""What `doctor` finds out and what it says about it. Data alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One judgement in one line, and what to do about it; `advice` is empty where nothing is to be done."""

    level: Level
    subject: str
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What one pool is going to run."""

    name: str
    instances: int
    concurrency: int
    max_memory_bytes: int
    stop_timeout_seconds: float
    foreign_cores: tuple[int, ...] = ()  # of its affinity: this process may not use them


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the configuration, and a persisted `scale`, want of this machine."""

    pools: tuple[PoolPlan, ...]
    reserved_cores: int
    connection_limit: int
    embedded: bool
    log_bytes: int  # what the logs may grow to
    missing_programs: tuple[tuple[str, str], ...] = ()  # apps and what they would run

    @property
    def workers(self) -> int:
        return sum(pool.instances for pool in self.pools)


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine as far as this process may use it."""

    affinity_cores: int
    usable_cores: int  # after the control group's quota
    memory_bytes: int  # of the machine
    usable_memory_bytes: int  # after the control group's limit
    swap_bytes: int
    swap_used_bytes: int
    available_bytes: int
    descriptors_hard: int | None  # RLIMIT_NOFILE; None: no limit. The supervisor raises the soft one itself


@dataclass(frozen=True, slots=True)
class HomeState:
    """The home and the disk it lies on; of a home that is not there yet, the disk of the nearest folder above."""

    path: str
    exists: bool
    mode: int
    owner_uid: int
    own_uid: int
    open_to_others: tuple[str, ...]  # files with secrets that group or others may reach
    free_bytes: int
    fsync_seconds: float | None  # None: not writable, `problem` says why
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The session that holds the oldest snapshot: rows deleted since then cannot be cleaned up."""

    pid: int
    application: str
    user: str
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Unserved:
    """Pending jobs of one kind and queue that no living worker can take; from 1,000 on they are not counted."""

    kind: str
    queue: str
    known: bool | None  # some worker knows the kind, but none of its queue; None: no worker lives
    jobs: int


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What the database answered; `problem` where it did not."""

    place: str
    embedded: bool
    pooled: bool  # what the settings say of database_url
    has_direct: bool  # a database_url_direct of its own
    running: bool = True  # an embedded one may simply not be started
    problem: str = ""
    version: str = ""
    version_number: int = 0
    ring_seconds: float | None = None  # from NOTIFY to our own ear on the direct URL; None: not within the limit
    pending: tuple[str, ...] = ()  # migrations that are missing
    schema_problem: str = ""
    write_problem: str = ""  # why it takes nothing in: a full disk, a standby
    oldest: Snapshot | None = None
    unserved: tuple[Unserved, ...] = ()
    max_connections: int = 0
    used_connections: int = 0  # of everybody but this workerctl
    skew_seconds: float = 0.0  # the database's clock minus ours
    round_trip_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StorageState:
    """One probe object written, read and deleted."""

    place: str
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Wrapper:
    """A systemd unit or a PM2 app that runs this installation, or the container that it runs in."""

    kind: Literal["systemd", "pm2", "container", "kubernetes"]
    path: str
    stop_seconds: float  # until it kills; infinity is allowed
    kills_tree: bool = False  # it signals our children itself
    notified: bool = True  # it waits until we say ready


@dataclass(frozen=True, slots=True)
class Packages:
    """What is installed beside us; `embedded_problem` says why there is no PostgreSQL of our own."""

    jieba: bool
    shipped: bool  # the content jobs are switched on
    embedded_problem: str = ""


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A provider that jobs call, and the environment variable with its key; whether this shell has it."""

    provider: str
    variable: str
    is_set: bool
