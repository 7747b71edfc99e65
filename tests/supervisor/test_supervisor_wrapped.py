"""The real systemd, in a container over this very machine's files, and the real PM2."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy_house import House, is_alive, until

pytestmark = pytest.mark.long

UNIT = """
[Service]
Type=notify
NotifyAccess=main
ExecStart={python} -m workerctl.supervisor --composition {composition}
ExecReload={python} -c "import sys; sys.path.insert(0, '{root}'); from workerctl.supervisor.client import request; \
from pathlib import Path; request(Path('{home}'), 'reload', composition='{composition}')"
KillMode=mixed
TimeoutStopSec=4
WatchdogSec=2
Restart=on-failure
RestartSec=0
OOMPolicy=continue
"""
TARGET = "[Unit]\nRequires=basic.target toy.service\nAfter=basic.target\nAllowIsolate=yes\n"
PROBATION_SECONDS = 1.0
DRAIN_SECONDS = 1.5  # a second signal would cut it short
ROOT = Path(__file__).parents[2]


@pytest.fixture
def systemctl(house: House) -> Iterator[Callable[..., str]]:
    """The service `toy` under a systemd of its own; what `systemctl` says there."""
    if os.geteuid() != 0:
        pytest.skip("only root can start a systemd of its own")
    if not shutil.which("systemd-nspawn") or not shutil.which("nsenter"):
        pytest.skip("systemd-nspawn is missing: apt-get install --no-install-recommends systemd-container")
    place = Path("/srv") / f"workerctl-test-{os.getpid()}"  # not below /tmp, which is another one in the container
    over = house.folder / "over"
    for name in ("up", "work", "root"):
        (over / name).mkdir(parents=True)
    try:
        _run("mount", "-t", "tmpfs", "-o", "size=512m", "over", str(over))
        for name in ("up", "work", "root"):
            (over / name).mkdir()
        options = f"lowerdir=/,upperdir={over}/up,workdir={over}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", options, str(over / "root"))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no overlay here: {error.stderr}")
    root = over / "root"
    inside = House(_made(root / str(place)[1:]))
    inside.behave(f"drain={DRAIN_SECONDS}")
    unit = _compose(inside, place, root)
    (root / "etc/systemd/system/toy.service").write_text(unit)
    (root / "etc/systemd/system/toy.target").write_text(TARGET)
    (root / "etc/machine-id").write_text("")
    command = ["systemd-nspawn", "-D", str(root), "-b", "--private-network", "--register=no", "--keep-unit"]
    with (house.folder / "console").open("wb") as console:
        nspawn = subprocess.Popen(
            ["timeout", "120", *command, "--console=pipe", "systemd.unit=toy.target"],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console,
        )  # fmt: skip
    init_handle = None
    try:
        init = until(lambda: _init_of(nspawn.pid), 20, lambda: (house.folder / "console").read_text(errors="replace"))

        init_handle = os.pidfd_open(init)

        def ask(*words: str, check: bool = False) -> str:
            enter = ["nsenter", "-t", str(init), "-a", "systemctl", *words]
            return subprocess.run(enter, capture_output=True, text=True, check=check).stdout.strip()

        yield ask
        ask("poweroff")
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            nspawn.wait(20)
        nspawn.terminate()  # nspawn shuts its container down; killed, it would leave the container's PID 1 behind
        nspawn.wait()
        if init_handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(init_handle, signal.SIGKILL)
            os.close(init_handle)
        subprocess.run(["umount", "-l", str(root), str(over)], check=False)
        for name in ("payload/init.scope", "payload", "supervisor"):  # empty groups that nspawn leaves
            for hierarchy in ("systemd", "unified"):
                with contextlib.suppress(OSError):
                    (Path("/sys/fs/cgroup") / hierarchy / name).rmdir()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _compose(house: House, place: Path, root: Path) -> str:
    """Everything as it is seen from inside."""
    path = house.compose(*house.workers(2), policy={"probation_seconds": PROBATION_SECONDS})
    path.write_text(path.read_text().replace(str(root), ""))
    home = place / "home"
    return UNIT.format(
        python=f"/usr/bin/env PYTHONPATH={ROOT} {sys.executable}",
        composition=home / "run" / "composition.json",
        home=home,
        root=ROOT,
    )


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _init_of(pid: int) -> int | None:
    """The container's PID 1, two below `timeout`."""
    found = pid
    for _ in range(2):
        children = Path(f"/proc/{found}/task/{found}/children").read_text().split()
        if not children:
            return None
        found = int(children[-1])
    lines = Path(f"/proc/{found}/status").read_text().splitlines()
    numbers = next(line for line in lines if line.startswith("NSpid:")).split()
    is_init = numbers[-1] == "1" and Path(f"/proc/{found}/comm").read_text().strip() == "systemd"
    return found if is_init else None


def _value(systemctl: Callable[..., str], name: str) -> str:
    return systemctl("show", "toy", "-p", name, "--value")


def test_a_service_of_systemd_starts_reloads_survives_a_kill_and_a_hang_and_stops(
    systemctl: Callable[..., str],
) -> None:
    until(lambda: systemctl("is-active", "toy") == "active", 30, lambda: systemctl("status", "toy"))
    until(lambda: _value(systemctl, "StatusText") == "running: 2/2 workers ready")
    first = _value(systemctl, "MainPID")
    begun = time.monotonic()
    systemctl("reload", "toy", check=True)
    assert time.monotonic() - begun > PROBATION_SECONDS, "systemd did not wait for the end of the reload"
    assert _value(systemctl, "StatusText") == "running: 2/2 workers ready"
    assert _value(systemctl, "MainPID") == first
    systemctl("kill", "--kill-who=main", "-s", "KILL", "toy", check=True)
    until(lambda: _value(systemctl, "NRestarts") == "1" and systemctl("is-active", "toy") == "active", 20)
    second = _value(systemctl, "MainPID")
    assert second != first
    systemctl("kill", "--kill-who=main", "-s", "STOP", "toy", check=True)
    until(lambda: _value(systemctl, "NRestarts") == "2" and systemctl("is-active", "toy") == "active", 30)
    until(lambda: _value(systemctl, "StatusText") == "running: 2/2 workers ready")
    begun = time.monotonic()
    systemctl("stop", "toy", check=True)
    assert time.monotonic() - begun >= DRAIN_SECONDS, "not only the main process was told to stop"
    assert _value(systemctl, "Result") == "success"
    assert systemctl("is-active", "toy") == "inactive"


@pytest.fixture(scope="module")
def pm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """The command pm2 with a home of its own."""
    if not shutil.which("npm"):
        pytest.skip("npm is missing: PM2 comes from it")
    folder = tmp_path_factory.mktemp("pm2")
    install = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "pm2@7"]
    if subprocess.run(install, capture_output=True).returncode != 0:
        pytest.skip("npm could not install pm2@7")
    environment = os.environ | {"PM2_HOME": str(folder / "home"), "PM2_DISCRETE_MODE": "true"}

    def ask(*words: str) -> str:
        command = [str(folder / "node_modules/.bin/pm2"), *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout

    yield ask
    ask("kill")


@pytest.mark.parametrize("asks_with_message", [False, True])
def test_pm2_waits_for_ready_shows_our_metrics_and_stops_without_leaving_anything(
    house: House, pm2: Callable[..., str], asks_with_message: bool
) -> None:
    path = house.compose(*house.workers(2))
    program = house.folder / "toy.sh"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m workerctl.supervisor --composition {path}\n")
    program.chmod(0o755)
    app = {"name": "toy", "script": str(program), "interpreter": "none", "wait_ready": True, "listen_timeout": 20000,
           "kill_timeout": 15000, "treekill": False, "cwd": str(ROOT),
           "shutdown_with_message": asks_with_message}  # fmt: skip
    (house.folder / "ecosystem.json").write_text(json.dumps({"apps": [app]}))
    pm2("start", str(house.folder / "ecosystem.json"))
    try:
        assert len(house.pids()) == 2, "PM2 called it online before it was ready"
        pids = house.pids()

        def monitored() -> bool:
            (listed,) = json.loads(pm2("jlist"))
            shown = {name: each["value"] for name, each in listed["pm2_env"]["axm_monitor"].items()}
            return shown.get("workers") == "2/2" and shown["jobs done"] == "14" and shown["workers' memory"] > "1"

        until(monitored)
        os.kill(int((house.home / "run" / "lock").read_text()), signal.SIGKILL)
        until(lambda: not any(is_alive(pid) for pid in pids), 3)
        assert house.until_ready(2, 20)
        pm2("stop", "toy")
        assert house.outcome() == {"exit_code": 0, "message": ""}
    finally:
        pm2("delete", "toy")
    until(lambda: not [line for line in house.left_over() if "supervisor" in line or "template" in line])
