"""The product as PID 1 of a real container: its limits are seen, orphans are reaped, a stop drains within the default.

It takes root and what `apt-get install --no-install-recommends podman runc` brings. No image is needed: the container's
root is this machine's, with an overlay over it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

WORKERCTL = Path(sys.executable).with_name("workerctl")
PATIENCE_SECONDS = 60.0
ENGINE = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
"""
CONFIG = """
[supervisor]
max_memory = "90%"
max_memory_hard = "4GB"
[jobs]
modules = ["kinds"]
shipped = false
"""
KINDS = """
import mmap, subprocess, time
from pathlib import Path
from workerctl import job

@job("hold")
def hold(payload, ctx):
    Path("began").touch()
    time.sleep(payload["seconds"])
    Path("ended").touch()

@job("orphan")
def orphan(payload, ctx):
    subprocess.run(["sh", "-c", "for i in 1 2 3 4 5; do (setsid sleep 0.2 &); done"], check=True)

@job("fatten")
def fatten(payload, ctx):
    if ctx.job.attempt == 1:
        mmap.mmap(-1, payload["mebibytes"] << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        time.sleep(60)
"""


class Container:
    """One container with 400 MB and one core, whose PID 1 is a supervisor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir()
        (folder / "engine.conf").write_text(ENGINE)
        (self.project / "workerctl.toml").write_text(CONFIG)
        (self.project / "kinds.py").write_text(KINDS)

    def podman(self, *words: object) -> subprocess.CompletedProcess[str]:
        places = ["--root", self.folder / "root", "--runroot", self.folder / "runroot"]
        environ = os.environ | {"CONTAINERS_CONF": str(self.folder / "engine.conf")}
        return subprocess.run(
            ["podman", *map(str, places), *map(str, words)],
            capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False, env=environ,
        )  # fmt: skip

    def start(self) -> str | None:
        """What keeps it from running; None once it does."""
        limits = ("--memory=400m", "--cpus=1", "--network=none")
        place = ("-v", f"{self.project}:{self.project}", "-w", self.project)
        done = self.podman(
            "run", "-d", "--name=it", *limits, *place, "--rootfs", "/:O", WORKERCTL, "start", "--foreground"
        )
        return None if done.returncode == 0 else done.stderr.strip().rpartition("\n")[2]

    def workerctl(self, *words: object) -> str:
        return self.podman("exec", "it", WORKERCTL, *words).stdout

    def status(self) -> dict[str, Any] | None:
        text = self.workerctl("status", "--json")
        return json.loads(text) if text.startswith("{") else None

    def logs(self) -> str:
        done = self.podman("logs", "it")
        return done.stdout + done.stderr

    def clean(self) -> None:
        self.podman("rm", "--force", "--time=0", "it")
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in sorted(Path("/sys/fs/cgroup").glob("*/libpod_parent/**/"), reverse=True):
            with contextlib.suppress(OSError):  # another container's
                folder.rmdir()


def until(condition: Callable[[], Any], explain: Callable[[], str]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, explain()
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def box() -> Iterator[Container]:
    if os.geteuid() != 0 or shutil.which("podman") is None or shutil.which("runc") is None:
        pytest.skip("only root can run these containers, with podman and runc: see this file's first lines")
    box = Container(Path(tempfile.mkdtemp(prefix="wl-", dir="/tmp")))
    try:
        if (problem := box.start()) is not None:
            pytest.skip(f"no container here: {problem}")
        until(lambda: (found := box.status()) and found["supervisor"]["state"] == "running", box.logs)
        yield box
    finally:
        box.clean()


def test_its_limits_are_the_machine(box: Container) -> None:
    found = box.status()
    assert found is not None
    assert (found["supervisor"]["pid"], found["node"]["cores"]) == (1, 1)
    assert "360MB" in next(
        line for line in box.workerctl("config", "show").splitlines() if "supervisor.max_memory " in line
    )
    report = box.workerctl("doctor")
    assert "1 workers sum to 360MB of the control group's 400MB" in report
    assert "a stop kills after 10 s unless told otherwise, stop_timeout is 30 s" in report
    assert "--stop-timeout 60" in report


def test_it_reaps_what_others_orphan(box: Container) -> None:
    box.workerctl("enqueue", "orphan", "--wait")
    states = "cat /proc/[0-9]*/stat | sed 's/.*) //' | cut -c1 | sort | uniq -c"
    until(lambda: " Z" not in box.podman("exec", "it", "sh", "-c", states).stdout, box.logs)
    found = box.status()
    assert found is not None and found["pools"][0]["ready"] == 1


def test_a_worker_that_the_kernel_kills_for_the_containers_memory_is_told_so_and_nobody_else_dies(
    box: Container,
) -> None:
    before = box.status()
    box.workerctl("enqueue", "fatten", "mebibytes=600", "--wait")
    assert "kernel-oom, signal 9" in box.workerctl("why", "default/1")
    after = box.status()
    assert before is not None and after is not None
    assert [role["processes"][0]["pid"] for role in after["roles"]] == [
        role["processes"][0]["pid"] for role in before["roles"]
    ]


def test_a_stop_lets_the_job_in_hand_finish_within_the_engines_default(box: Container) -> None:
    box.workerctl("enqueue", "hold", "seconds=3")
    until((box.project / "began").exists, box.logs)
    since = time.monotonic()
    assert box.podman("stop", "it").returncode == 0
    taken = time.monotonic() - since
    assert (box.project / "ended").exists()
    state = box.podman("inspect", "--format", "{{.State.ExitCode}} {{.State.OOMKilled}}", "it").stdout
    assert state.split() == ["0", "false"], box.logs()
    assert taken < 10, "the default of docker stop"
    assert 'command="SIGTERM from outside this container"' in box.logs()
    print(f"stopped in {taken:.1f} s with 3 s of a job in hand")
