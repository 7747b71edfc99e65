"""One run: start two nodes, enqueue, strike, heal, wait for the end of all jobs, stop, judge, tell."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
from disorder import records
from disorder.blame import blame, slept
from disorder.effects import effects, tell
from disorder.ghost import Ghost
from disorder.homes import Home
from disorder.judge import judge
from disorder.network import Relay
from disorder.patience import ENDED, Patience
from disorder.plan import Fault, faults
from disorder.producer import Producer
from disorder.strike import Striker, Struck
from disorder.watch import Watch

from workerctl.broker.embedded import STOP_SIGNAL, plan_server

PRODUCING_SHARE = 0.8  # of the time in which faults strike: there is work until near the end
BEAT_SECONDS = 0.02
EVIDENCE = Path(__file__).parent / "evidence.sql"


def run(seconds: float, jobs: int, seed: int, keep: bool) -> bool:
    """Whether an invariant was broken. Leaves nothing running, and nothing on the disk unless told to or broken."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    _forget_the_callers_database()
    folder = Path(tempfile.mkdtemp(prefix="wc-", dir="/tmp"))  # short enough for a unix socket
    folder.chmod(0o755)
    plan = faults(seed, seconds)
    _say(f"seed {seed}: {jobs} jobs, {len(plan)} faults in {seconds:g} s, in {folder}")
    homes: dict[int, Home] = {}
    broken = ["the run itself failed"]
    try:
        broken = _run(folder, homes, plan, seconds, jobs, seed)
    finally:
        for home in homes.values():
            for process in home.everything():
                with contextlib.suppress(Exception):
                    process.kill()
        if broken or keep:
            _say(f"left in {folder}: homes, logs, records/")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if broken:
        _say(f"replay: scripts/chaos queue --seed {seed} --seconds {seconds:g} --jobs {jobs}")
    return bool(broken)


def _run(folder: Path, homes: dict[int, Home], plan: list[Fault], seconds: float, jobs: int, seed: int) -> list[str]:
    written = folder / "records"
    written.mkdir(mode=0o777)
    homes[1] = Home(folder / "one", written, None)
    _start(homes[1])
    url = json.loads((homes[1].home / "run" / "database.json").read_text())["url"]
    relay = Relay(f"{parse_qs(urlsplit(url).query)['host'][0]}/.s.PGSQL.{parse_qs(urlsplit(url).query)['port'][0]}")
    homes[2] = Home(folder / "two", written, through(url, relay.port))
    _start(homes[2])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(EVIDENCE.read_bytes())
    striker, watch, ghost = Striker(homes, relay), Watch(url), Ghost(url, seed)
    producer = Producer(url, jobs, seconds * PRODUCING_SHARE, seed)
    began = time.monotonic()
    _strike(striker, plan, began)
    striker.heal()
    ghost.end()
    broken = _settle(homes, striker, producer, url)
    took = time.monotonic() - began
    watch.end()
    broken += watch.broken
    broken += [f"a late settlement counted: {', '.join(ghost.heard[:10])}"] if ghost.heard else []
    broken += [] if producer.has_all else ["not everything could be enqueued"]
    for number in (2, 1):
        broken += _stop(homes[number])
    relay.close()
    lines = records.read(written)
    with _server(homes[1].home) as connection:
        broken += judge(connection, lines, producer.acknowledged, slept(lines, striker.struck))
        counts = connection.execute("SELECT status::text, count(*) FROM workerctl.history GROUP BY 1").fetchall()
        written_out = effects(connection, folder / "storage", lines)
        limited = {job for (job,) in connection.execute("SELECT id FROM workerctl.history WHERE kind = 'limited'")}
        runs = records.executions(lines, _let_go(connection))
    _say(f"\nlate settlements of a worker that lies: {ghost.said}, counted: {len(ghost.heard)}")
    broken += blame(runs, limited, striker.struck, _say)
    broken += tell(written_out, _say)
    _tell(striker.struck, lines, watch, dict(counts), took, broken)
    return broken


def _let_go(connection: psycopg.Connection[Any]) -> dict[tuple[int, int], float]:
    """When the claim of each (job, attempt) ended, by the clock of the records."""
    ahead = time.time() - time.monotonic()  # PostgreSQL's clock, which is this machine's, of that one
    rows = connection.execute(
        "SELECT job_id, attempt, extract(epoch FROM min(at))::float8 FROM chaos.let_go GROUP BY 1, 2"
    )
    return {(job, attempt): at - ahead for job, attempt, at in rows}


def through(url: str, port: int) -> str:
    """The same database by way of the relay."""
    parts = urlsplit(url)
    account = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{account}@127.0.0.1:{port}", query="").geturl()


def _start(home: Home) -> None:
    home.begin_start()
    home.started()


def _strike(striker: Striker, plan: list[Fault], began: float) -> None:
    for fault in plan:
        while time.monotonic() < began + fault.at_seconds:
            striker.attend()
            time.sleep(BEAT_SECONDS)
        done = striker.strike(fault)
        lasts = f" for {fault.seconds:g} s" if fault.seconds else ""
        who = f" pid {', '.join(map(str, done.victims))}" if done.victims and fault.deed != "cut" else ""
        note = f" ({done.note})" if done.note else ""
        _say(f"{fault.at_seconds:7.2f} s  node {fault.node}  {fault.name}{lasts}{who}{note}")


def _settle(homes: dict[int, Home], striker: Striker, producer: Producer, url: str) -> list[str]:
    """Heal, and wait until every job but the newest ticks has ended; what did not come to rest in time."""
    striker.heal()
    patience, ended = Patience(), 0
    left: Any = "no answer"
    while patience.lasts(len(producer.acknowledged), ended):
        striker.attend()
        time.sleep(0.25)
        if not striker.at_rest or not producer.is_done:
            continue
        for home in homes.values():
            if not home.is_running():
                home.begin_start()  # it gave up while its database was away for good, or its start failed
        with contextlib.suppress(psycopg.Error), psycopg.connect(url, connect_timeout=2) as connection:
            left = connection.execute(
                "SELECT a.kind, l.status::text, l.held, l.deaths, count(*), min(l.id), min(l.worker_id)"
                "  FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id"
                " WHERE a.kind <> 'tick' OR l.created_at < now() - interval '5 seconds' GROUP BY 1, 2, 3, 4"
            ).fetchall()
            if not left:
                return []
            [ended] = connection.execute(ENDED).fetchone() or (0,)
    return [f"not at rest {patience.told}: {left if producer.is_done else 'still enqueueing'}"]


def _stop(home: Home) -> list[str]:
    try:
        home.stop()
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return [f"{home.folder.name}: {error}"]
    return []


@contextlib.contextmanager
def _server(home: Path) -> Iterator[psycopg.Connection[Any]]:
    """The first home's PostgreSQL alone, once everything else has stopped."""
    server = plan_server(home)
    with (home / "judge.log").open("ab") as log:
        process = subprocess.Popen(server.command, stdout=log, stderr=log, start_new_session=True)
    try:
        while subprocess.run(server.probe_command, check=False).returncode != 0:
            if process.poll() is not None:
                raise RuntimeError(f"PostgreSQL does not start: {(home / 'judge.log').read_text()[-500:]}")
            time.sleep(0.05)
        with psycopg.connect(server.url, autocommit=True) as connection:
            yield connection
    finally:
        if process.poll() is None:
            process.send_signal(STOP_SIGNAL)
            process.wait(timeout=60)


def _tell(
    struck: list[Struck],
    lines: list[records.Record],
    watch: Watch,
    counts: dict[str, int],
    took_seconds: float,
    broken: list[str],
) -> None:
    hits = [done for done in struck if done.victims]
    by_name = Counter(done.fault.name for done in hits)
    pause, instant = records.longest_pause(lines, [done.at for done in hits])
    after = next((done.fault for done in hits if done.at == instant), None)
    histogram = records.histogram(lines)
    ended = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    _say(f"\njobs ended: {ended}, after {took_seconds:.1f} s")
    _say("executions of a job: " + ", ".join(f"{times}x {histogram[times]}" for times in sorted(histogram)))
    _say("faults: " + ", ".join(f"{name} {count}" for name, count in sorted(by_name.items()))
         + f"; nobody there {len(struck) - len(hits)}")  # fmt: skip
    _say(f"longest from a fault to the next job that began: {pause:.2f} s"
         + (f", after {after.name} at {after.at_seconds:g} s on node {after.node}" if after else ""))  # fmt: skip
    highest = ", ".join(f"{name} {count}" for name, count in sorted(watch.highest.items()))
    _say(f"rows sampled {watch.samples} times, highest under a limit: {highest}")
    for line in broken:
        _say(f"BROKEN {line}")
    _say("all invariants hold" if not broken else f"{len(broken)} invariants broken")


def _forget_the_callers_database() -> None:
    """Nothing of the caller's may lead a process of ours to another database, home or storage."""
    for name in list(os.environ):
        if name.startswith(("PG", "WORKERCTL_", "R2_", "AWS_", "CLOUDFLARE_R2_")):
            del os.environ[name]
    for name in ("DATABASE_URL", "DIRECT_URL", "POLL_INTERVAL", "MAX_CONCURRENT_JOBS", "SERVICE_TYPE"):
        os.environ.pop(name, None)


def _say(line: str) -> None:
    print(line, flush=True)
