"""Pure: what to say about database, connections, clock, storage, and whoever wraps us."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from ..broker.connection import OWNER_ADVICE
from ..broker.migrate import OLDEST_SERVER
from .compose import policy_of
from .doctor_facts import DatabaseState, Finding, ProviderKey, StorageState, Wanted, Wrapper
from .plain import seconds

SNAPSHOT_WARNING_SECONDS = 60.0
UNSERVED_COUNTED = 1000
NO_WORKER_ADVICE = (
    "`workerctl start`; where one runs, `workerctl status` says why it has no workers, and `scale 2` makes some"
)
SKEW_WARNING_SECONDS = 2.0
STORAGE_WARNING_SECONDS = 2.0
REFUSALS = {  # what the server says -> what to do; where it says so in another language, look at it yourself
    "too many clients|connection slots|too many connections|no more connections": (
        "all connections are taken: fewer workers (`workerctl scale`), end sessions that pg_stat_activity shows, or "
        "raise max_connections (a pooler's max_client_conn); workers come back by themselves"
    ),
    "No space left|Disk quota": (
        "free the database's disk; nothing acknowledged is lost, and the queue goes on by itself"
    ),
    "read-only transaction|session is read-only|during recovery": (
        "that is a standby, or set read-only: DATABASE_URL must lead to the primary server"
    ),
    "starting up|shutting down|not yet accepting|recovery mode|server_login_retry": (
        "wait for the server; workers come back by themselves"
    ),
    "lock timeout|statement timeout": (
        "a session holds a lock, or the server is overloaded: pg_stat_activity and pg_blocking_pids() tell"
    ),
    "permission denied|must be owner": OWNER_ADVICE,
    "authentication failed|not permitted to log in|does not exist|no pg_hba.conf entry": (
        "check user, password and database of DATABASE_URL"
    ),
}
STOP_ALLOWANCE_SECONDS = 30.0  # beyond stop_timeout: the agent gives back, PostgreSQL stops


def judge_database(database: DatabaseState) -> Iterator[Finding]:
    if not database.running:
        yield Finding("ok", "database", "embedded, not running: `workerctl start`, then ask again to have it checked")
        return
    if database.problem:
        yield Finding("error", "database", database.problem, _advice(database.problem, embedded=database.embedded))
        return
    yield from _judge_version(database)
    if database.write_problem:
        text = f"it takes nothing in: {database.write_problem}"
        yield Finding("error", "database", text, _advice(database.write_problem, embedded=database.embedded))
    yield from _judge_listening(database)
    yield from _judge_schema(database)
    yield from _judge_snapshot(database)
    yield from _judge_unserved(database)


def _advice(problem: str, *, embedded: bool) -> str:
    for words, advice in REFUSALS.items():
        if re.search(words, problem):
            return advice
    return "see `workerctl logs postgres`" if embedded else "check DATABASE_URL, the server, the network"


def _judge_version(database: DatabaseState) -> Iterator[Finding]:
    how = "embedded" if database.embedded else "pooled" if database.pooled else "direct"
    text = f"PostgreSQL {database.version} at {database.place}, {how}, {database.round_trip_seconds * 1000:.1f} ms away"
    if database.version_number < OLDEST_SERVER:
        yield Finding("error", "database", text, f"PostgreSQL {OLDEST_SERVER // 10000} or later is needed")
    else:
        yield Finding("ok", "database", text)


def _judge_listening(database: DatabaseState) -> Iterator[Finding]:
    if database.ring_seconds is not None:
        yield Finding("ok", "wake-up", f"NOTIFY is heard after {database.ring_seconds * 1000:.0f} ms")
    elif database.has_direct:
        advice = "database_url_direct goes through a pooler too: give the server's own address and port"
        yield Finding("error", "wake-up", "NOTIFY to ourselves is not heard within 1 s", advice)
    else:
        advice = "set DIRECT_URL (database_url_direct) to an address that does not go through the pooler"
        text = "NOTIFY is not heard through a pooler: jobs are looked for once a second"
        yield Finding("warning", "wake-up", text, advice)


def _judge_schema(database: DatabaseState) -> Iterator[Finding]:
    if database.schema_problem:
        advice = OWNER_ADVICE if database.pending else ""
        yield Finding("error", "schema", database.schema_problem, advice)
    elif database.pending:
        advice = "type `workerctl migrate`; `workerctl start` does the same"
        yield Finding("warning", "schema", f"missing: {', '.join(database.pending)}", advice)
    else:
        yield Finding("ok", "schema", "up to date")


def _judge_snapshot(database: DatabaseState) -> Iterator[Finding]:
    oldest = database.oldest
    if oldest is None or oldest.seconds < SNAPSHOT_WARNING_SECONDS:
        yield Finding("ok", "snapshots", "no session holds an old one")
        return
    who = f"pid {oldest.pid} ({oldest.application or 'no name'}, user {oldest.user}, {oldest.state})"
    text = f"{who} holds one for {seconds(oldest.seconds)}: claims get slower the longer it does"
    yield Finding("warning", "snapshots", text, f"end it: SELECT pg_terminate_backend({oldest.pid})")


def _judge_unserved(database: DatabaseState) -> Iterator[Finding]:
    for lane in database.unserved:
        text = f"{_at_least(lane.jobs)} of kind {lane.kind} in queue {lane.queue} wait: "
        if lane.known is None:
            jobs = sum(each.jobs for each in database.unserved)
            yield Finding("warning", "jobs", f"no worker runs, pending jobs: {_at_least(jobs)}", NO_WORKER_ADVICE)
            return
        if lane.known:
            yield Finding("warning", "jobs", f"{text}no worker serves that queue", "name it in a pool, then `reload`")
        else:
            advice = "the module that has it belongs in [jobs] modules, then `reload`; or cancel them"
            yield Finding("warning", "jobs", f"{text}no worker knows that kind", advice)


def _at_least(jobs: int) -> str:
    return f"{jobs} or more" if jobs >= UNSERVED_COUNTED else str(jobs)


def judge_connections(database: DatabaseState, wanted: Wanted) -> Iterator[Finding]:
    policy = policy_of(wanted.connection_limit, embedded=wanted.embedded)
    needed = policy.connections(wanted.workers)
    text = f"{wanted.workers} workers need {needed} of connection_limit {policy.connection_limit}"
    if needed > (policy.connection_limit or 0):
        advice = "`start` refuses: fewer instances, or a higher connection_limit where the database allows it"
        yield Finding("error", "connections", text, advice)
    else:
        yield Finding("ok", "connections", text)
    if not database.max_connections:
        return
    free = database.max_connections - database.used_connections
    text = f"the database allows {database.max_connections}, others hold {database.used_connections}"
    if needed > free and not database.pooled:
        yield Finding("error", "connections", f"{text}: {needed} do not fit", "fewer workers, or raise max_connections")
    else:
        yield Finding("ok", "connections", text)


def judge_clock(database: DatabaseState) -> Iterator[Finding]:
    if not database.version:
        return
    skew = database.skew_seconds
    beyond = abs(skew) - database.round_trip_seconds / 2
    text = f"the database's is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} ours"
    if beyond > SKEW_WARNING_SECONDS:
        yield Finding("warning", "clock", text, "let both machines run NTP: times in logs and jobs do not compare")
    else:
        yield Finding("ok", "clock", text)


def judge_storage(storage: StorageState) -> Iterator[Finding]:
    if storage.problem:
        yield Finding("error", "storage", storage.problem, "check [storage] url, R2_* and AWS_*")
    elif storage.seconds > STORAGE_WARNING_SECONDS:
        text = f"put, get and delete at {storage.place} take {storage.seconds:.1f} s"
        yield Finding("warning", "storage", text, "jobs wait as long: use a bucket in this region")
    else:
        text = f"put, get and delete at {storage.place} take {storage.seconds * 1000:.0f} ms"
        yield Finding("ok", "storage", text)


def judge_providers(keys: Sequence[ProviderKey]) -> Iterator[Finding]:
    for key in keys:
        if key.is_set:
            yield Finding("ok", "providers", f"{key.provider}: {key.variable} is set")
        else:
            text = f"{key.provider}: {key.variable} is not set in this environment"
            yield Finding(
                "error", "providers", text, "its jobs end dead: set it where workerctl is started, and restart"
            )


def stop_needs_seconds(stop_timeouts: Sequence[float]) -> float:
    """What a wrapper must leave us between its stop signal and its kill."""
    return max(stop_timeouts, default=0.0) + STOP_ALLOWANCE_SECONDS


def judge_wrapper(wrapper: Wrapper, stop_timeouts: Sequence[float]) -> Iterator[Finding]:
    ours, needed = max(stop_timeouts, default=0.0), stop_needs_seconds(stop_timeouts)
    key = "TimeoutStopSec" if wrapper.kind == "systemd" else "kill_timeout"
    value = f"{math.ceil(needed)}" if wrapper.kind == "systemd" else f"{math.ceil(needed * 1000)}"
    patience = "never kills" if math.isinf(wrapper.stop_seconds) else f"kills after {wrapper.stop_seconds:g} s"
    text = f"{wrapper.path}: {patience}, stop_timeout is {ours:g} s"
    if wrapper.stop_seconds <= ours:
        yield Finding("error", wrapper.kind, f"{text}: jobs would be cut", f"set {key} to {value} or more")
    elif wrapper.stop_seconds < needed:
        yield Finding("warning", wrapper.kind, f"{text}: little is left for the rest", f"set {key} to {value} or more")
    else:
        yield Finding("ok", wrapper.kind, text)
    if wrapper.kills_tree:
        how = "KillMode=mixed" if wrapper.kind == "systemd" else "treekill: false"
        text = f"{wrapper.path}: it signals every worker and the database at once"
        yield Finding("error", wrapper.kind, text, f"set {how}")
    if not wrapper.notified:
        how = "Type=notify" if wrapper.kind == "systemd" else "wait_ready: true"
        text = f"{wrapper.path}: it calls us started before any worker is ready"
        yield Finding("warning", wrapper.kind, text, f"set {how}")


def judge_container(container: Wrapper, stop_timeouts: Sequence[float]) -> Iterator[Finding]:
    """Its deadline is the engine's, not to be seen from inside: no error, but a warning where the default is short."""
    ours, needed = max(stop_timeouts, default=0.0), math.ceil(stop_needs_seconds(stop_timeouts))
    text = f"a stop kills after {container.stop_seconds:g} s unless told otherwise, stop_timeout is {ours:g} s"
    if container.stop_seconds > ours:
        yield Finding("ok", container.kind, text)
        return
    docker = f"--stop-timeout {needed} or, in compose, stop_grace_period: {needed}s"
    setting = docker if container.kind == "container" else f"terminationGracePeriodSeconds: {needed}"
    yield Finding("warning", container.kind, f"{text}: jobs would be cut", f"{setting}; where that is set, all is well")
