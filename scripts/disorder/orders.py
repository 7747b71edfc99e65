"""Orders of pictures through the simulated provider, while calls fail and workers are killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
from disorder.homes import Home
from disorder.orders_judge import Verdict, judge

from workerctl.contract import NotRunning

LIMIT = 15  # pictures at once in the whole fleet
SIDE = 512
RETRY_SECONDS = 1.0
BEAT_SECONDS = 0.1
MODELS = {"openai": ("/v1", "gpt-image-2"), "fal": ("", "fal-ai/flux/dev")}  # base URL, model
CONFIG = """
connection_limit = 60
[supervisor]
instances = 4
[jobs]
concurrency = 8
retry_delay = "{retry}s"
[limits]
image = {limit}
[providers.simulator]
type = "{provider}"
kinds = ["image"]
base_url = "{url}"
model = "{model}"
read_timeout = "{read_timeout}s"
price_image = 0.042
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is ordered, and how hard it is made. `sizes` is the number of pictures of each order."""

    sizes: tuple[int, ...]
    latency_seconds: float
    kill_every_seconds: float
    share_of_faults: float
    seed: int
    kills: int = 1000
    read_timeout_seconds: float = 10.0  # what cuts a hang
    slack: float | None = 1.5  # times the time that the limit allows; None: any time is well
    provider: str = "openai"  # or "fal"

    @property
    def allowed_seconds(self) -> float:
        """How long the pictures take where the limit is always full and nothing fails."""
        return sum(self.sizes) * self.latency_seconds / LIMIT


def whole(seed: int, provider: str) -> Plan:
    """Twenty orders at 2 s a picture, a kill every 10 s, 5 % of the calls with a fault.

    By fal's protocol a picture takes some ten calls, so that every third meets a fault: no time is promised.
    """
    slack = 1.5 if provider == "openai" else None
    return Plan((2,) * 10 + (20,) * 6 + (50,) * 4, 2.0, 10.0, 0.05, seed, slack=slack, provider=provider)


def small(seed: int, provider: str) -> Plan:
    """A few orders at a quarter of a second, and two kills within them."""
    return Plan((2, 2, 20, 50), 0.25, 1.0, 0.05, seed, 2, 2.0, None, provider)


@dataclass(slots=True)
class Seen:
    """What was seen while it ran."""

    began: float = 0.0
    took_seconds: float = 0.0
    killed: list[tuple[float, int]] = field(default_factory=list)  # seconds since the beginning, pid
    private_bytes: int = 0  # of the fattest worker


def run(plan: Plan, keep: bool) -> bool:
    """Whether a promise was broken. Leaves nothing running, and nothing on the disk unless told to or broken."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    for name in [name for name in os.environ if name.startswith(("PG", "WORKERCTL_", "R2_", "AWS_"))]:
        del os.environ[name]
    os.environ.pop("DATABASE_URL", None)
    folder = Path(tempfile.mkdtemp(prefix="wo-", dir="/tmp"))  # short enough for a unix socket
    ordered = f"{len(plan.sizes)} orders of {sum(plan.sizes)} pictures"
    say(f"seed {plan.seed}: {ordered} by {plan.provider}, {plan.latency_seconds:g} s each, in {folder}")
    verdict: Verdict | None = None
    try:
        with simulator(plan) as url:
            verdict = _run(folder, url, plan)
    finally:
        if keep or verdict is None or verdict.broken:
            say(f"left in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return bool(verdict.broken)


def _run(folder: Path, provider_url: str, plan: Plan) -> Verdict:
    os.environ |= {"OPENAI_API_KEY": "simulator", "FAL_KEY": "simulator"}
    base, model = MODELS[plan.provider]
    config = CONFIG.format(
        limit=LIMIT, provider=plan.provider, url=provider_url + base, model=model, retry=RETRY_SECONDS,
        read_timeout=plan.read_timeout_seconds,
    )  # fmt: skip
    home = Home(folder / "one", folder, None, config=config)
    seen = Seen()
    try:
        home.begin_start()
        home.started()
        database = json.loads((home.home / "run" / "database.json").read_text())["url"]
        with psycopg.connect(database, autocommit=True) as connection:
            orders = _place(connection, plan)
            _watch(home, connection, orders, plan, seen)
            with urllib.request.urlopen(f"{provider_url}/ledger", timeout=10) as answer:
                ledger = json.load(answer)
            (folder / "ledger.json").write_text(json.dumps(ledger, indent=1))
            verdict = judge(connection, ledger, orders, home.home / "storage")
        home.stop()
    finally:
        for process in home.everything():
            with contextlib.suppress(psutil.Error):
                process.kill()
    if plan.slack is not None and seen.took_seconds > plan.slack * plan.allowed_seconds:
        verdict.broken.append(f"{seen.took_seconds:.1f} s is over {plan.slack} x {plan.allowed_seconds:.1f} s")
    _tell(plan, seen, verdict)
    return verdict


@contextlib.contextmanager
def simulator(plan: Plan) -> Iterator[str]:
    """A simulator as a process of its own; its address."""
    command = [sys.executable, "-m", "workerctl.testing.simulator", "--latency", f"{plan.latency_seconds:g}",
               "--fault", f"any={plan.share_of_faults}", "--seed", str(plan.seed)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["base_url"]
        finally:
            process.terminate()


def _place(connection: psycopg.Connection[Any], plan: Plan) -> dict[int, int]:
    """Enqueue every order; the number of pictures by job id."""
    orders = {}
    for number, count in enumerate(plan.sizes):
        payload = {"prompt": f"order {number}: ships at Red Cliffs", "count": count, "width": SIDE, "height": SIDE}
        row = connection.execute(
            "SELECT workerctl.enqueue('image.batch', %s, queue => 'image', user_id => %s)",
            [json.dumps(payload), f"user {number}"],
        ).fetchone()
        assert row is not None
        orders[int(row[0])] = count
    return orders


def _watch(home: Home, connection: psycopg.Connection[Any], orders: dict[int, int], plan: Plan, seen: Seen) -> None:
    """Kill a worker now and then, and look at their memory, until every order has ended or it takes far too long."""
    chance = random.Random(plan.seed)
    seen.began = time.monotonic()
    next_kill = plan.kill_every_seconds
    while (since := time.monotonic() - seen.began) < 10 * plan.allowed_seconds + 60:
        left = connection.execute(
            "SELECT count(*) FROM workerctl.job WHERE id = ANY(%s) AND status IN ('pending', 'running', 'waiting')",
            [list(orders)],
        ).fetchone()
        if left == (0,):
            break
        workers = _workers(home)
        if since >= next_kill and workers and len(seen.killed) < plan.kills:
            next_kill += plan.kill_every_seconds
            victim = workers[int(chance.random() * len(workers))]
            with contextlib.suppress(psutil.Error):
                victim.kill()
                seen.killed.append((since, victim.pid))
        seen.private_bytes = max(seen.private_bytes, *map(_private, workers), 0)
        time.sleep(BEAT_SECONDS)
    seen.took_seconds = time.monotonic() - seen.began


def _workers(home: Home) -> list[psutil.Process]:
    with contextlib.suppress(NotRunning):
        return home.victims("worker")
    return []


def _private(worker: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(worker.memory_full_info().uss)
    return 0


def _tell(plan: Plan, seen: Seen, verdict: Verdict) -> None:
    allowed = plan.allowed_seconds
    times = seen.took_seconds / allowed
    say(f"\n{seen.took_seconds:.1f} s, {times:.2f} x the {allowed:.1f} s that {LIMIT} at once allow")
    say("killed: " + (", ".join(f"pid {pid} at {at:.1f} s" for at, pid in seen.killed) or "nobody"))
    say(f"private memory of the fattest worker: {seen.private_bytes / 2**20:.0f} MB at most")
    for line in verdict.lines:
        say(line)
    for line in verdict.broken:
        say(f"BROKEN {line}")
    say("every promise holds" if not verdict.broken else f"{len(verdict.broken)} promises broken")


def say(line: str) -> None:
    print(line, flush=True)
