"""The unit as it is shipped, under a systemd that may limit memory: in a virtual machine, for cgroup v2 needs one here.

It takes some minutes, root, and what
`apt-get install --no-install-recommends qemu-system-x86 seabios mmdebstrap systemd-container` brings.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("qemu-system-x86_64", "mmdebstrap", "mke2fs", "systemd-nspawn")
GUEST_PYTHON = (3, 11)  # of Debian 12; the packages of the tests' own environment are copied, compiled ones too
PACKAGES = "systemd,systemd-sysv,dbus,python3,linux-image-cloud-amd64,initramfs-tools,zstd"
SERVICE_USER = 990
BOOT_AND_CHECK_SECONDS = 1500
STILL_SECONDS = 5.0  # a heartbeat: on a machine that stops for longer, deadlines say nothing
IMAGE_SIZE = "2200M"
CONFIG = """
[supervisor]
instances = 2
max_memory = "2GB"
boot_timeout = "300s"
[jobs]
modules = ["kinds"]
shipped = false
"""
KINDS = """
import mmap, time
from workerctl import job

@job("hold")
def hold(payload, ctx):
    open("/var/lib/workerctl/held", "w").close()
    time.sleep(payload["seconds"])

@job("fatten")
def fatten(payload, ctx):
    if ctx.job.attempt == 1:
        mmap.mmap(-1, payload["mebibytes"] << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
        time.sleep(60)
"""
DROP_IN = "[Service]\nMemoryMax=450M\nTimeoutStartSec=900\n"
CHECK = (
    "[Unit]\nAfter=workerctl.service\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n"
    "ExecStart=/usr/bin/python3 /opt/guest_check.py\n"
)


def _why_not() -> str | None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0 or platform.machine() != "x86_64":
        return "only root can make a virtual machine, and only on x86_64"
    if missing:
        return f"{missing[0]} is missing: see this file's first lines"
    if sys.version_info[:2] != GUEST_PYTHON:
        return "the packages here are not for the Python of Debian 12, which is 3.11"
    return None


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What the guest says of each step."""
    reason = _why_not()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("machine")
    tree, image, console = folder / "tree", folder / "image", folder / "console"
    made = subprocess.run(
        ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", tree],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip(f"no Debian can be had here: {made.stderr.splitlines()[-1:]}")
    _install(tree)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image, IMAGE_SIZE], check=True)
    kernel, initrd = (next((tree / "boot").glob(f"{name}-*")) for name in ("vmlinuz", "initrd.img"))
    words = (
        "root=/dev/vda rw console=ttyS0 quiet systemd.mask=e2scrub_reap.service systemd.mask=serial-getty@ttyS0.service"
    )
    command = ["timeout", str(BOOT_AND_CHECK_SECONDS), "qemu-system-x86_64", "-M", "q35,accel=tcg", "-cpu", "max",
               "-m", "1536", "-smp", "2", "-nographic", "-no-reboot", "-net", "none", "-kernel", kernel,
               "-initrd", initrd, "-append", words,
               "-drive", f"file={image},if=virtio,format=raw,cache=unsafe"]  # fmt: skip
    with console.open("wb") as output:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
    lines = console.read_text(errors="replace").splitlines()
    facts = [json.loads(line.removeprefix("FACTS ")) for line in lines if line.startswith("FACTS {")]
    if not facts:
        pytest.skip(f"the emulated machine did not come so far within {BOOT_AND_CHECK_SECONDS} s: {lines[-1:]}")
    steps = {fact.pop("step"): fact for fact in facts}
    still_seconds = _stood_still_seconds(steps.get("failed", {}))
    if still_seconds > STILL_SECONDS:
        pytest.skip(f"the emulated machine stood still for {still_seconds:g} s at a time: nothing is judged by it")
    yield steps
    shutil.rmtree(folder, ignore_errors=True)


def _stood_still_seconds(failed: dict[str, Any]) -> float:
    """The longest that the supervisor of a guest that failed was held up, as its journal tells."""
    spans = re.findall(r"event Slept seconds=([\d.]+)", str(failed.get("journal", "")))
    return max(map(float, spans), default=0.0)


def _install(tree: Path) -> None:
    """The checkout as /opt/workerctl, the unit as it is, and a home whose database is there: initdb takes minutes.

    What is copied keeps its times, and so its compiled modules.
    """
    place, units = tree / "opt" / "workerctl", tree / "etc" / "systemd" / "system"
    shutil.copytree(ROOT / "src", place / "src")
    (place / "workerctl").symlink_to("src")
    shutil.copytree(sysconfig.get_path("purelib"), place / "site", symlinks=True)
    program = place / ".venv" / "bin" / "workerctl"
    program.parent.mkdir(parents=True)
    path = "PYTHONPATH=/opt/workerctl:/opt/workerctl/site"
    program.write_text(f'#!/bin/sh\n{path} exec /usr/bin/python3 -m workerctl.cli "$@"\n')
    program.chmod(0o755)
    (place / "workerctl.toml").write_text(CONFIG)
    (place / "kinds.py").write_text(KINDS)
    shutil.copy(ROOT / "systemd" / "workerctl.service", units)
    (units / "workerctl.service.d").mkdir()
    (units / "workerctl.service.d" / "machine.conf").write_text(DROP_IN)
    (units / "check.service").write_text(CHECK)
    shutil.copy(Path(__file__).with_name("guest_check.py"), tree / "opt")
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    for name in ("workerctl", "check"):
        (wanted / f"{name}.service").symlink_to(f"../{name}.service")
    for name, line in (("passwd", f"workerctl:x:{SERVICE_USER}:{SERVICE_USER}::/var/lib/workerctl:/bin/sh\n"),
                       ("group", f"workerctl:x:{SERVICE_USER}:\n")):  # fmt: skip
        with (tree / "etc" / name).open("a") as file:
            file.write(line)
    home = tree / "var" / "lib" / "workerctl"
    home.mkdir(mode=0o700)
    os.chown(home, SERVICE_USER, SERVICE_USER)
    first = "export WORKERCTL_HOME=/var/lib/workerctl; .venv/bin/workerctl start && .venv/bin/workerctl stop"
    subprocess.run(
        ["systemd-nspawn", "-D", tree, "--register=no", "--keep-unit", "-q", "-u", "workerctl",
         "--chdir=/opt/workerctl", "sh", "-c", first],
        stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=120,
    )  # fmt: skip


def test_a_worker_that_the_kernel_kills_for_memory_takes_nobody_along(told: dict[str, dict[str, Any]]) -> None:
    assert "out of memory" in told, told
    assert told["start"]["oom_policy"] == "continue"
    found = told["out of memory"]
    assert (found["main_pid_stays"], found["restarts"], found["state"]) == (True, "0", "active")
    assert "kernel-oom" in found["why"]
    assert found["attempt"] == 2


def test_a_stop_by_systemd_lets_jobs_in_hand_finish(told: dict[str, dict[str, Any]]) -> None:
    assert "stop" in told, told
    found = told["stop"]
    assert (found["result"], found["state"]) == ("success", "inactive")
    assert found["attempt"] == 1
