"""The effective settings: frozen, complete, numbers in known units. Adding a key is adding a field here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from ..contract import LEASE_SECONDS
from .fields import SECRETS as SECRETS  # what others look for here
from .fields import Table as Table
from .fields import derived as _derived
from .fields import duration as _duration
from .fields import key as _key
from .providers import BudgetSettings, ProviderSettings

MEBIBYTE = 1024 * 1024
DEFAULT_POOL = "default"

Instances = Annotated[
    Annotated[int, Meta(ge=0, le=512)] | Literal["auto", "max"],
    _key(
        "workers of the pool; auto = usable cores without the reserved ones",
        '"auto", "max" or a whole number from 0 to 512',
    ),
]
Concurrency = Annotated[int, _key("jobs at a time in one worker", "a whole number from 1 to 1000", ge=1, le=1000)]
MaxMemory = Annotated[
    int,
    _key(
        "per worker: over it a successor first, then drain",
        'a size: "500MB", "1.5GB", "80%"',
        unit="memory",
        gt=0,
    ),
]
MaxMemoryHard = Annotated[
    Annotated[int, Meta(gt=0)] | None,
    _key("per worker: over it killed, its jobs given back; absent: 1.25 x max_memory",
         'a size: "500MB", "1.5GB", "80%"', unit="memory"),
]  # fmt: skip
StopTimeout = Annotated[float, _duration("drain time before a kill", ge=0)]
BootTimeout = Annotated[float, _duration("time to become ready before a kill", gt=0)]
Modules = Annotated[tuple[str, ...], _key("imported by the template, found from `path`", "a list of module names")]
Folders = Annotated[tuple[str, ...], _key("folders to find them in, seen from the project", "a list of folders")]
PollInterval = Annotated[float, _duration("how often a worker looks when nothing wakes it", gt=0)]
Timeout = Annotated[float, _duration("for one attempt", gt=0)]
RetryDelay = Annotated[float, _duration("before the second attempt; doubles, with jitter", ge=0)]
Shipped = Annotated[bool, _key("the content jobs that come with workerctl", "true or false")]
Nice = Annotated[int, _key("added to the priority number of a worker", "a whole number from 0 to 19", ge=0, le=19)]
Affinity = Annotated[
    tuple[Annotated[int, Meta(ge=0)], ...], _key("cores of its workers; none: all but the reserved", "a list of cores")
]
Lifetime = Annotated[float, _duration("a worker that is so old is replaced, give or take 10 %; 0: never", ge=0)]
MaxJobs = Annotated[int, _key("a worker that has done so many is replaced; 0: never", "a whole number from 0", ge=0)]
Env = Annotated[dict[str, str], _key("environment variables for it", 'a table such as {PORT = "8000"}')]


class SupervisorSettings(Table, frozen=True, kw_only=True):
    """[supervisor]: the default pool, and what other pools inherit."""

    instances: Instances = "auto"
    reserved_cores: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        _key("the last cores, kept for the database; default 1 with an embedded one on > 2 cores, else 0",
             "a whole number from 0"),
    ] = None  # fmt: skip
    max_memory_bytes: MaxMemory = field(default=500 * MEBIBYTE, name="max_memory")
    max_memory_hard_bytes: MaxMemoryHard = field(default=None, name="max_memory_hard")
    stop_timeout_seconds: StopTimeout = field(default=30.0, name="stop_timeout")
    boot_timeout_seconds: BootTimeout = field(default=60.0, name="boot_timeout")
    nice: Nice = 0
    affinity: Affinity = ()
    lifetime_seconds: Lifetime = field(default=0.0, name="lifetime")
    max_jobs: MaxJobs = 0
    env: Env = {}
    exit_when_all_parked: Annotated[
        bool, _key("end with 1 once every worker was given up, for whoever restarts containers", "true or false")
    ] = False
    user: Annotated[
        str | None, _key("started as root, everything becomes this user; the home is made theirs", "the name of a user")
    ] = None
    group: Annotated[str | None, _key("with `user`: its group; absent: the user's own", "the name of a group")] = None


class JobsSettings(Table, frozen=True, kw_only=True):
    """[jobs]: what workers import and how they run it. `path` and `prompts` are absolute once loaded."""

    modules: Modules = ()
    path: Folders = (".",)
    concurrency: Concurrency = 8
    poll_interval_seconds: PollInterval = field(default=10.0, name="poll_interval")
    max_attempts: Annotated[
        int, _key("failures after which a job is dead", "a whole number from 1 to 1000", ge=1, le=1000)
    ] = 3
    timeout_seconds: Timeout = field(default=300.0, name="timeout")
    lease_seconds: Annotated[float, _duration("how long a claim is good without a heartbeat; over 15s", gt=0)] = field(
        default=LEASE_SECONDS, name="lease"
    )
    retry_delay_seconds: RetryDelay = field(default=15.0, name="retry_delay")
    retention_seconds: Annotated[float, _duration("how long ended jobs and execution logs are kept", gt=0)] = field(
        default=30 * 86400.0, name="retention"
    )
    prompts: Annotated[str, _key("folder of prompt templates, seen from the project", "a folder")] = "prompts"
    shipped: Shipped = True


class PoolSettings(Table, frozen=True, kw_only=True):
    """[pools.NAME], complete: what the file leaves out is inherited from [supervisor] and [jobs].

    The pool `default` is always there with no `queues`: it serves every queue that no other pool names.
    `path` is absolute once loaded.
    """

    queues: Annotated[tuple[str, ...], _key("queues that this pool serves", "a list of queue names")]
    instances: Instances = "auto"
    concurrency: Concurrency = 8
    max_memory_bytes: MaxMemory = field(default=500 * MEBIBYTE, name="max_memory")
    max_memory_hard_bytes: MaxMemoryHard = field(default=None, name="max_memory_hard")
    stop_timeout_seconds: StopTimeout = field(default=30.0, name="stop_timeout")
    boot_timeout_seconds: BootTimeout = field(default=60.0, name="boot_timeout")
    nice: Nice = 0
    affinity: Affinity = ()
    lifetime_seconds: Lifetime = field(default=0.0, name="lifetime")
    max_jobs: MaxJobs = 0
    env: Env = {}
    modules: Modules = ()
    path: Folders = (".",)
    shipped: Shipped = True
    poll_interval_seconds: PollInterval = field(default=10.0, name="poll_interval")
    timeout_seconds: Timeout = field(default=300.0, name="timeout")
    retry_delay_seconds: RetryDelay = field(default=15.0, name="retry_delay")


class AppSettings(Table, frozen=True, kw_only=True):
    """[apps.NAME]: any command kept alive beside the workers. `cwd` is absolute once loaded."""

    command: Annotated[
        Annotated[str, Meta(min_length=1)] | Annotated[tuple[str, ...], Meta(min_length=1)],
        _key("what runs; no shell reads it", "a command line, or a list of its words"),
    ]
    instances: Annotated[int, _key("how many of it", "a whole number from 1 to 512", ge=1, le=512)] = 1
    env: Env = {}
    cwd: Annotated[str | None, _key("its folder, seen from the project; absent: the project", "a folder")] = None
    after: Annotated[
        tuple[str, ...], _key("starts once these are ready, ends before them", "a list of apps, pools or roles")
    ] = ()
    ready: Annotated[
        Literal["started", "notify"] | dict[Literal["port", "command"], int | str],
        _key("it serves: at once, when it says so (sd_notify), a port answers or a command exits 0",
             '"started", "notify", {port = 8000} or {command = "..."}'),
    ] = "started"  # fmt: skip
    stop_signal: Annotated[
        Literal["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGKILL"],
        _key("asks it to leave", 'a signal such as "SIGTERM" or "SIGINT"'),
    ] = "SIGTERM"
    stop_timeout_seconds: StopTimeout = field(default=30.0, name="stop_timeout")
    boot_timeout_seconds: BootTimeout = field(default=60.0, name="boot_timeout")
    max_memory_bytes: Annotated[
        Annotated[int, Meta(gt=0)] | None,
        _key("over it the app is restarted; absent: no limit", 'a size: "500MB", "1.5GB", "80%"', unit="memory"),
    ] = field(default=None, name="max_memory")


class ScheduleSettings(Table, frozen=True, kw_only=True):
    """[schedule.NAME]: a job enqueued once per due time in the whole fleet."""

    cron: Annotated[str, _key("minute hour day month weekday, or @every 10m", 'a cron expression such as "0 3 * * *"')]
    timezone: Annotated[str, _key("whose clock", 'a time zone such as "Asia/Shanghai"')] = "UTC"
    kind: Annotated[
        str, _key("the job that is enqueued", "a kind of job, of 1 to 200 characters", min_length=1, max_length=200)
    ]
    payload: Annotated[dict[str, Any], _key("its payload", "a table")] = {}
    missed: Annotated[
        Literal["skip", "once", "all"],
        _key("due times that nobody was there for: none, the latest, or all of them", '"skip", "once" or "all"'),
    ] = "skip"


class StorageSettings(Table, frozen=True, kw_only=True):
    """[storage], resolved. Credentials come from the environment alone; without any boto3 looks itself."""

    url: Annotated[
        str, _key("file: is below the home; or s3://bucket/prefix. Absent with all R2_*: R2",
                  '"file:", "file:///folder" or "s3://bucket/prefix"'),
    ] = "file:"  # fmt: skip
    endpoint_url: Annotated[str | None, _derived("of an S3 server that is not AWS")] = None
    access_key_id: Annotated[str | None, _derived("R2_ACCESS_KEY_ID or AWS_ACCESS_KEY_ID")] = None
    secret_access_key: Annotated[str | None, _derived("the secret of that key")] = None
    session_token: Annotated[str | None, _derived("AWS_SESSION_TOKEN, with temporary keys")] = None
    region: Annotated[str | None, _derived("`auto` for R2, else AWS_REGION or AWS_DEFAULT_REGION")] = None
    public_url: Annotated[str | None, _derived("R2_PUBLIC_URL: objects are public below it")] = None


class ImagesSettings(Table, frozen=True, kw_only=True):
    """[images]: what the shipped jobs make of a picture."""

    format: Annotated[
        Literal["png", "webp", "jpeg", "avif"],
        _key("of pictures that ask for none", '"png", "webp", "jpeg" or "avif"'),
    ] = "png"
    quality: Annotated[int, _key("of webp, jpeg and avif", "a whole number from 1 to 100", ge=1, le=100)] = 90
    variants: Annotated[
        dict[Annotated[str, Meta(pattern="^[a-z][a-z0-9_]{0,30}$")], Annotated[int, Meta(ge=16, le=8192)]],
        _key("further sizes of every picture, beside thumbnail = 256: name = longest side in pixels",
             "a table of name = 16 to 8192, such as {medium = 1024}"),
    ] = {}  # fmt: skip
    watermarks: Annotated[
        dict[str, Annotated[str, Meta(min_length=1, max_length=60)]],
        _key("text drawn on the pictures of a plan", 'a table of plan = text, such as {free = "made by example"}'),
    ] = {}
    max_pixels: Annotated[
        int, _key("of a picture that is decoded, 4 bytes each; larger ones are refused unread",
                  "a whole number from 4096 to 80000000", ge=4096, le=80_000_000),
    ] = 40_000_000  # fmt: skip


class LogsSettings(Table, frozen=True, kw_only=True):
    """[logs]: rotation of each worker's files, and what workers write into them."""

    max_size_bytes: Annotated[
        int, _key("of one file before it is rotated", 'a size such as "100MB"', unit="size", gt=0)
    ] = field(default=100 * MEBIBYTE, name="max_size")
    max_age_seconds: Annotated[float, _duration("of one file before it is rotated; 0: by size alone", ge=0)] = field(
        default=86400.0, name="max_age"
    )
    keep: Annotated[int, _key("rotated files kept", "a whole number from 1 to 1000", ge=1, le=1000)] = 7
    compress: Annotated[bool, _key("rotated files become .gz", "true or false")] = True
    max_total_bytes: Annotated[
        int, _key("of all log files: over it the oldest rotated ones go; 0: no limit", 'a size such as "2GB"',
                  unit="size", ge=0),
    ] = field(default=2048 * MEBIBYTE, name="max_total")  # fmt: skip
    level: Annotated[
        Literal["debug", "info", "warn", "error"],
        _key("the least that handlers' logging writes", '"debug", "info", "warn" or "error"'),
    ] = "info"
    sample_successes: Annotated[
        float, _key("share of succeeded jobs that get a line: 0.1 = 1 of 10; failed ones always do",
                    "a number from 0 to 1", ge=0, le=1),
    ] = 1.0  # fmt: skip
    slow_seconds: Annotated[float, _duration("a job that took so long always gets its line", ge=0)] = field(
        default=1.0, name="slow"
    )


def _default_pool() -> dict[str, PoolSettings]:
    return {DEFAULT_POOL: PoolSettings(queues=())}


class Settings(Table, frozen=True, kw_only=True):
    """Everything, effective. `database_url` None means the embedded PostgreSQL."""

    database_url: Annotated[
        str | None, _key("absent: embedded PostgreSQL in the home; may be pooled", "a postgresql:// URL")
    ] = None
    database_url_direct: Annotated[
        str | None, _key("for LISTEN and migrations where the other is pooled", "a postgresql:// URL")
    ] = None
    database_pooled: Annotated[bool, _derived("database_url goes through a transaction pooler")] = False
    connection_limit: Annotated[
        int, _key("refused before start and scale, with the sum; embedded: 180", "a whole number from 1", ge=1)
    ] = 20
    postgres_bin: Annotated[str | None, _key("bin folder for the embedded server; absent: the wheel's", "a folder")] = (
        None
    )
    limits: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]],
        _key(
            "how many jobs of a kind or key may run at once in the fleet",
            "a table of kind or key = whole number from 0",
        ),
    ] = {}
    rates: Annotated[
        dict[str, str],
        _key("how many may start within a sliding period", 'a table of kind or key = "number/duration"'),
    ] = {}
    admission: Annotated[
        dict[str, Annotated[int, Meta(ge=0)]],
        _key(
            "how many root jobs may be pending before enqueueing is refused",
            'a table of "plan:NAME" or kind = whole number from 0',
        ),
    ] = {}
    supervisor: SupervisorSettings = SupervisorSettings()
    jobs: JobsSettings = JobsSettings()
    pools: dict[str, PoolSettings] = field(default_factory=_default_pool)
    apps: dict[str, AppSettings] = {}
    schedule: dict[str, ScheduleSettings] = {}
    storage: StorageSettings = StorageSettings()
    providers: dict[str, ProviderSettings] = {}
    budgets: dict[str, BudgetSettings] = {}
    images: ImagesSettings = ImagesSettings()
    logs: LogsSettings = LogsSettings()
