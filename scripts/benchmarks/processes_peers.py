"""gunicorn, supervisord, circus and PM2 beside us: memory, start, successors, what a killed supervisor leaves."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from benchmarks.house import Scene, TooLate, run_seconds, wait_until
from benchmarks.measure import Figure, figure

PROGRAM = Path(__file__).parent / "peers" / "peer_loop.py"
ENVIRONMENT = Path(__file__).parents[2] / ".venv-peers"  # beside what the queue's peers need
PACKAGES = ("gunicorn>=23", "supervisor==4.*", "circus==0.19.*")
IMPORTS = ("boto3", "pillow", "httpx", "psycopg[binary]")
NAMES = ("gunicorn", "supervisord", "circus", "PM2")
WORKERS = 4
KILLS = 5
MIB = 1 << 20


def against_peers(scene: Scene) -> Iterator[Figure]:
    """Four workers with the same imports; ours have a queue, an agent and a log collector besides."""
    install()
    ours = _ours(scene)
    yield from _figures("workerctl", ours, ours)
    for name in NAMES:
        if name == "PM2" and shutil.which("npm") is None:
            continue
        yield from _figures(name, _measured(scene, name), ours)


Values = dict[str, list[float]]
IDLE_SECONDS = 10.0
UNITS = {
    "PSS of the supervisor alone": "MB",
    "  its CPU, idle": "%",
    "PSS of the tree": "MB",
    "start to 4 loops": "s",
    "kill -9 to the successor's loop": "ms",
    "orphans of a killed supervisor": "",
    "workers after another start": "",
}


def _figures(name: str, values: Values, ours: Values) -> Iterator[Figure]:
    for what, samples in values.items():
        found = figure(f"{name}: {what}", UNITS[what], samples)
        yield found
        base = figure("", "", ours[what]).value
        if values is not ours and base:
            yield figure("  so many times ours", "x", [found.value / base])


def _ours(scene: Scene) -> Values:
    values: Values = {what: [] for what in UNITS}
    with scene.server.fresh_database() as url, scene.house(url) as house:
        house.start(WORKERS)
        house.command("stop")
        values["start to 4 loops"].append(house.start(WORKERS))
        pids = house.pids()
        tree = [pid for name in ("supervisor", "workers", "template", "agent", "collector") for pid in pids[name]]
        values["PSS of the tree"].append(sum(_pss_mib(pid) for pid in tree))
        _look_at_idle(values, psutil.Process(pids["supervisor"][0]))
        for _ in range(KILLS):
            offset, at = house.log_size(), time.time()
            os.kill(house.pids()["workers"][0], signal.SIGKILL)
            found = wait_until(lambda offset=offset: house.worker_events("BecameReady", offset), 20, "a successor")
            values["kill -9 to the successor's loop"].append((found[0][0] - at) * 1000)
            house.ask("reset", name="default")
        workers = house.pids()["workers"]
        os.kill(house.pids()["supervisor"][0], signal.SIGKILL)
        time.sleep(3.0)
        values["orphans of a killed supervisor"].append(float(sum(_runs(pid) for pid in workers)))
        house.start(WORKERS)
        values["workers after another start"].append(float(len(house.pids()["workers"])))
    return values


def _measured(scene: Scene, name: str) -> Values:
    values: Values = {what: [] for what in UNITS}
    folder = scene.folder / f"peer-{name}"
    folder.mkdir()
    peer = Peer(name, folder)
    try:
        values["start to 4 loops"].append(peer.start())
        time.sleep(1.0)
        values["PSS of the tree"].append(sum(_pss_mib(process.pid) for process in peer.tree()))
        _look_at_idle(values, peer.main())
        for _ in range(KILLS):
            values["kill -9 to the successor's loop"].append(peer.kill_one() * 1000)
        peer.main().kill()
        time.sleep(3.0)  # as long as ours had
        values["orphans of a killed supervisor"].append(float(len(peer.workers())))
        peer.start()
        time.sleep(1.0)
        values["workers after another start"].append(float(len(peer.workers())))
    finally:
        peer.end()
    return values


def _look_at_idle(values: Values, supervisor: psutil.Process) -> None:
    values["PSS of the supervisor alone"].append(_pss_mib(supervisor.pid))
    before = run_seconds(supervisor.pid)
    time.sleep(IDLE_SECONDS)
    values["  its CPU, idle"].append(100 * (run_seconds(supervisor.pid) - before) / IDLE_SECONDS)


class Peer:
    """One process manager with four workers of its own, in a folder of its own."""

    def __init__(self, name: str, folder: Path, instances: int = WORKERS, *options: str) -> None:
        self._name, self._folder, self._instances, self._options = name, folder, instances, options
        self._stamps = folder / "stamps"
        self._environ = os.environ | {"PEER_STAMPS": str(self._stamps), "PM2_HOME": str(folder / "pm2")}
        self._environ |= {"PYTHONPATH": str(PROGRAM.parent)}
        self._main: psutil.Process | None = None

    def start(self) -> float:
        """Seconds until four loops have begun."""
        before, since = len(self._begun()), time.monotonic()
        process = subprocess.Popen(
            self._command(), cwd=self._folder, env=self._environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        count = before + self._instances
        wait_until(lambda: len(self._begun()) >= count, 60, f"{self._name}'s workers", every_seconds=0.005)
        seconds = max(self._begun().values()) - since
        self._main = self._daemon() if self._name == "PM2" else psutil.Process(process.pid)
        return seconds

    def kill_one(self) -> float:
        victim, begun = self.workers()[0], len(self._begun())
        at = time.monotonic()
        victim.kill()
        wait_until(lambda: len(self._begun()) > begun, 60, "a successor", every_seconds=0.001)
        return max(self._begun().values()) - at

    def main(self) -> psutil.Process:
        assert self._main is not None
        return self._main

    def tree(self) -> list[psutil.Process]:
        return [self.main(), *self.main().children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """Whoever has said that its loop began, and lives."""
        return [psutil.Process(pid) for pid in self._begun() if _runs(pid)]

    def end(self) -> None:
        with contextlib.suppress(psutil.Error):
            for process in reversed(self.tree()):
                process.kill()
        for process in self.workers():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def noted(self, word: str) -> dict[int, float]:
        """When each process said so first."""
        if not self._stamps.exists():
            return {}
        lines = [line.split() for line in self._stamps.read_text().splitlines()]
        return {int(pid): float(at) for pid, at, said in reversed(lines) if said == word}

    def count(self, word: str) -> int:
        """How often it was said."""
        lines = self._stamps.read_text().splitlines() if self._stamps.exists() else []
        return sum(line.endswith(f" {word}") for line in lines)

    def ask(self, *command: str) -> None:
        """A command of this process manager's own."""
        subprocess.run(command, env=self._environ, cwd=self._folder, check=True, capture_output=True)

    def _begun(self) -> dict[int, float]:
        return self.noted("loop")

    def turn_to(self, count: int) -> None:
        """gunicorn's way: one signal for each worker more or less; two at once would arrive as one."""
        for wanted in range(self._instances, count, 1 if count > self._instances else -1):
            self.main().send_signal(signal.SIGTTIN if count > wanted else signal.SIGTTOU)
            time.sleep(0.05)
        self._instances = count

    def configure(self, count: int) -> None:
        """Write supervisord's file for so many."""
        self._instances = count
        self._command()

    @property
    def pm2(self) -> tuple[str, ...]:
        return (str(ENVIRONMENT / "pm2" / "node_modules" / ".bin" / "pm2"),)

    def _daemon(self) -> psutil.Process:
        return psutil.Process(int((self._folder / "pm2" / "pm2.pid").read_text()))

    def _command(self) -> list[str]:
        programs, python = ENVIRONMENT / "bin", str(ENVIRONMENT / "bin" / "python")
        if self._name == "gunicorn":
            config = self._folder / "gunicorn.py"
            config.write_text("import peer_loop\ndef post_worker_init(worker):\n    peer_loop.begin()\n")
            return [str(programs / "gunicorn"), "--preload", "-w", str(self._instances), "-c", str(config),
                    "-b", f"unix:{self._folder}/socket", "peer_loop:app"]  # fmt: skip
        if self._name == "supervisord":
            config = self._folder / "supervisord.conf"
            config.write_text(
                f"[supervisord]\nnodaemon=true\nlogfile={self._folder}/log\npidfile={self._folder}/pid\n"
                f"childlogdir={self._folder}\n[unix_http_server]\nfile={self._folder}/s\n[supervisorctl]\n"
                f"serverurl=unix://{self._folder}/s\n[rpcinterface:supervisor]\n"
                "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
                f"[program:w]\ncommand={python} {PROGRAM}\nnumprocs={self._instances}\n"
                "process_name=%(program_name)s_%(process_num)d\nstartsecs=0\n"
            )
            return [str(programs / "supervisord"), "-c", str(config)]
        if self._name == "circus":
            config = self._folder / "circus.ini"
            config.write_text(
                f"[circus]\nendpoint=ipc://{self._folder}/e\npubsub_endpoint=ipc://{self._folder}/p\n"
                f"[watcher:w]\ncmd={python} {PROGRAM}\nnumprocesses={self._instances}\ncopy_env=True\n"
            )
            return [str(programs / "circusd"), str(config)]
        return [*self.pm2, "start", str(PROGRAM), "--interpreter", python,
                "-i", str(self._instances), "--name", "w", *self._options]  # fmt: skip


def install() -> None:
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    if not (ENVIRONMENT / "bin" / "circusd").exists():
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES, *IMPORTS]
        subprocess.run(install, check=True)
    folder = ENVIRONMENT / "pm2"
    if shutil.which("npm") is not None and not (folder / "node_modules").exists():
        folder.mkdir(exist_ok=True)
        subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "pm2@7"], check=True,
                       capture_output=True)  # fmt: skip
    if not (ENVIRONMENT / "bin" / "gunicorn").exists():
        raise TooLate("the peers could not be installed")


def _pss_mib(pid: int) -> float:
    with contextlib.suppress(psutil.Error):
        return float(psutil.Process(pid).memory_full_info().pss) / MIB
    return 0.0


def _runs(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
