"""Gives one house the blows of a plan, and judges at the end what stands."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import psycopg
from disorder import records
from disorder.blows import MOST_WORKERS, Blow, blows
from disorder.homes import CONFIG, HANDLERS, WORKERS, Home
from disorder.judge import judge
from disorder.patience import ENDED, Patience
from disorder.producer import Producer
from disorder.run import EVIDENCE, _forget_the_callers_database, _say, _server

from workerctl import enqueue
from workerctl.contract import NotRunning, WorkerctlError
from workerctl.supervisor.client import request

PRODUCING_SHARE = 0.8
BROKEN = "raise RuntimeError('half written')\n"


class HouseUnderFire:
    """One home, started; `strike` never raises for what a broken house may answer."""

    def __init__(self, folder: Path, written: Path) -> None:
        self.home = Home(folder, written, None)
        jobs = folder / "jobs"
        shutil.copytree(HANDLERS, jobs)
        modules = CONFIG.replace('["chaos_kinds"]', '["chaos_kinds", "chaos_bad"]')
        (folder / "workerctl.toml").write_text(modules.replace(json.dumps(str(HANDLERS)), json.dumps(str(jobs))))
        self._bad = jobs / "chaos_bad.py"
        self._stopped: list[tuple[float, psutil.Process]] = []
        self._lifted: list[tuple[float, int, tuple[int, int]]] = []
        self.desired = WORKERS
        self.bad_jobs: list[int] = []
        self._start()

    def strike(self, blow: Blow) -> str:
        """What came of it, for the report."""
        try:
            return self._strike(blow)
        except (WorkerctlError, psutil.Error, psycopg.Error, OSError, IndexError) as error:
            return f"nothing: {str(error).splitlines()[0] if str(error) else type(error).__name__}"[:100]

    def attend(self) -> None:
        """Take back what has lasted long enough."""
        now = time.monotonic()
        for entry in [entry for entry in self._stopped if entry[0] <= now]:
            self._stopped.remove(entry)
            with contextlib.suppress(psutil.Error):
                entry[1].resume()
        for lifted in [lifted for lifted in self._lifted if lifted[0] <= now]:
            self._lifted.remove(lifted)
            with contextlib.suppress(OSError):
                resource.prlimit(lifted[1], resource.RLIMIT_NOFILE, lifted[2])

    def heal(self) -> None:
        """Take everything back, mend the code, forgive the crashes, and ask for the number of workers again."""
        self._stopped = [(0.0, process) for _, process in self._stopped]
        self._lifted = [(0.0, pid, limits) for _, pid, limits in self._lifted]
        self.attend()
        if not self.home.is_running():
            self._start()
        self._mend()
        for command, arguments in (("reset", {"name": "default"}), ("scale", {"pool": "default", "to": WORKERS})):
            request(self.home.home, command, **arguments)
        self.desired = WORKERS

    def broken(self) -> list[str]:
        """What does not stand as it was asked to, once it has had time."""
        deadline, wrong = time.monotonic() + 30, ["no answer"]
        while time.monotonic() < deadline and wrong:
            with contextlib.suppress(WorkerctlError):
                wrong = self._wrong()
            time.sleep(0.1)
        return wrong

    def _wrong(self) -> list[str]:
        status = request(self.home.home, "status")["status"]
        [pool] = status["pools"]
        listed = {worker["pid"] for worker in pool["workers"]} | {status["supervisor"]["pid"]}
        listed |= {process["pid"] for role in status["roles"] for process in role["processes"]}
        wrong = []
        if status["supervisor"]["state"] != "running":
            wrong.append(f"the state is {status['supervisor']['state']}")
        phases = [worker["phase"] for worker in pool["workers"]]
        if phases != ["ready"] * self.desired:
            wrong.append(f"workers are {phases}, {self.desired} are wanted")
        for process in self.home.everything():
            family = {process.pid, process.ppid(), *(parent.pid for parent in process.parents()[:3])}
            if not family & (listed - {None}):
                wrong.append(f"{process.pid} belongs to nobody: {' '.join(process.cmdline())[:80]}")
        return wrong

    def _strike(self, blow: Blow) -> str:
        match blow.deed:
            case "kill" | "stop":
                found = self.home.victims(blow.target)
                victim = found[int(blow.choice * len(found))]
                if blow.deed == "kill":
                    victim.kill()
                else:
                    victim.suspend()
                    self._stopped.append((time.monotonic() + blow.seconds, victim))
                return f"pid {victim.pid}"
            case "hangup" | "hangup twice":
                [supervisor] = self.home.victims("supervisor")
                supervisor.send_signal(signal.SIGHUP)
                if blow.deed == "hangup twice":
                    time.sleep(0.005)
                    supervisor.send_signal(signal.SIGHUP)
                return ""
            case "restart":
                request(self.home.home, "restart", name="default")
                return ""
            case "scale":
                self.desired = 1 + int(blow.choice * MOST_WORKERS)
                request(self.home.home, "scale", pool="default", to=self.desired)
                return f"to {self.desired}"
            case "reload" | "bad reload":
                good = self._bad.read_text()
                if blow.deed == "bad reload":
                    self._bad.write_text(BROKEN)
                done = self.home.command("reload")
                self._bad.write_text(good)
                return f"exit {done}"
            case "storm":
                return f"{self._storm(blow.seconds)} killed"
            case "delete logs":
                for path in (self.home.home / "logs").glob("*.log"):
                    path.unlink(missing_ok=True)
                return ""
            case "descriptors":
                [supervisor] = self.home.victims("supervisor")
                before = resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE)
                resource.prlimit(supervisor.pid, resource.RLIMIT_NOFILE, (supervisor.num_fds(), before[1]))
                self._lifted.append((time.monotonic() + blow.seconds, supervisor.pid, before))
                return ""
            case "bad job":
                url = json.loads((self.home.home / "run" / "database.json").read_text())["url"]
                with psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
                    self.bad_jobs.append(enqueue(blow.target, {}, conn=connection))
                return f"job {self.bad_jobs[-1]}"
        return self._end(blow)

    def _end(self, blow: Blow) -> str:
        """A blow that ends the whole set, and the start after it."""
        [supervisor] = self.home.victims("supervisor")
        if blow.deed == "terms":
            for _ in range(5):
                supervisor.terminate()
                time.sleep(0.02)
        elif blow.deed == "kill everything":
            for process in [supervisor, *self.home.everything()]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        else:
            supervisor.kill()
        for process in [process for _, process in self._stopped]:
            with contextlib.suppress(psutil.Error):
                process.resume()
        self._stopped.clear()
        with contextlib.suppress(psutil.TimeoutExpired):
            supervisor.wait(60)
        began = time.monotonic()
        self._start()
        return f"started again in {time.monotonic() - began:.1f} s"

    def _storm(self, seconds: float) -> int:
        killed: set[int] = set()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for process in self.home.victims("worker"):
                if process.pid not in killed:
                    killed.add(process.pid)
                    process.kill()
        request(self.home.home, "reset", name="default")
        return len(killed)

    def _start(self) -> None:
        self.home.begin_start()
        self.home.started()

    def _mend(self) -> None:
        if self._bad.read_text() == BROKEN:
            self._bad.write_text((HANDLERS / "chaos_bad.py").read_text())


def run(seconds: float, jobs: int, seed: int, keep: bool) -> bool:
    """Whether something was broken. Leaves nothing running."""
    _forget_the_callers_database()
    folder = Path(tempfile.mkdtemp(prefix="wc-", dir="/tmp"))  # short enough for a unix socket
    written = folder / "records"
    written.mkdir(mode=0o777)
    plan = blows(seed, seconds)
    _say(f"seed {seed}: {jobs} jobs, {len(plan)} blows in {seconds:g} s, in {folder}")
    house: HouseUnderFire | None = None
    broken = ["the run itself failed"]
    try:
        house = HouseUnderFire(folder / "one", written)
        broken = _run(house, plan, written, seconds, jobs, seed)
    finally:
        for process in house.home.everything() if house is not None else ():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if broken or keep:
            _say(f"left in {folder}: home, logs, records/")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for line in broken:
        _say(f"BROKEN {line}")
    again = f"; replay: scripts/chaos processes --seed {seed} --seconds {seconds:g} --jobs {jobs}"
    _say(f"{len(broken)} invariants broken{again}" if broken else "all invariants hold")
    return bool(broken)


def _run(house: HouseUnderFire, plan: list[Blow], written: Path, seconds: float, jobs: int, seed: int) -> list[str]:
    url = json.loads((house.home.home / "run" / "database.json").read_text())["url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(EVIDENCE.read_bytes())
    producer = Producer(url, jobs, seconds * PRODUCING_SHARE, seed)
    began = time.monotonic()
    struck: Counter[str] = Counter()
    due, before = began, 0.0
    for blow in plan:
        due, before = max(due, time.monotonic()) + blow.at_seconds - before, blow.at_seconds  # a start takes its time
        if due > began + seconds:
            break
        while time.monotonic() < due:
            house.attend()
            time.sleep(0.02)
        note = house.strike(blow)
        struck[blow.name] += 1
        _say(f"{time.monotonic() - began:7.2f} s  {blow.name}" + (f"  ({note})" if note else ""))
    house.heal()
    broken = _until_all_ended(producer, url)
    broken += house.broken()
    with contextlib.suppress(NotRunning):
        house.home.stop()
    left = [f"{process.pid} runs after the stop" for process in house.home.everything()]
    lines = records.read(written)
    with _server(house.home.home) as connection:
        broken += judge(connection, lines, [*producer.acknowledged, *house.bad_jobs])
    histogram = records.histogram(lines)
    _say("executions of a job: " + ", ".join(f"{times}x {histogram[times]}" for times in sorted(histogram)))
    _say("blows: " + ", ".join(f"{name} {count}" for name, count in sorted(struck.items())))
    return broken + left


def _until_all_ended(producer: Producer, url: str) -> list[str]:
    patience, ended, left = Patience(), 0, [("no answer", "")]
    while patience.lasts(len(producer.acknowledged), ended):
        time.sleep(0.25)
        if not producer.is_done:
            continue
        with contextlib.suppress(psycopg.Error), psycopg.connect(url, connect_timeout=2) as connection:
            rows: list[Any] = connection.execute(
                "SELECT a.kind, l.status::text, count(*)"
                "  FROM workerctl.live l JOIN workerctl.lane a ON a.id = l.lane_id"
                " WHERE a.kind <> 'tick' OR l.created_at < now() - interval '5 seconds' GROUP BY 1, 2"
            ).fetchall()
            left = rows
            if not left:
                return []
            [ended] = connection.execute(ENDED).fetchone() or (0,)
    return [f"not at rest {patience.told}: {left if producer.is_done else 'still enqueueing'}"]
