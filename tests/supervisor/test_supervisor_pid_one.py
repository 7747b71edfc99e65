"""As PID 1 of a container: it reaps whatever others orphan, and its end is the end of everything."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toy_house import House, until


def test_pid_1_reaps_orphans_of_apps_drains_on_term_and_takes_everything_with_it(house: House) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root can make a PID namespace, with unshare of util-linux")
    orphans = "for i in 1 2 3 4 5; do (setsid sh -c 'sleep 0.1' &) ; done; exec sleep 1000"
    path = house.compose(*house.workers(2), house.command("app", "sh", "-c", orphans), foreground=True)
    command = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", sys.executable, "-m",
               "workerctl.supervisor", "--composition", str(path)]  # fmt: skip
    with (house.home / "logs" / "console").open("ab") as log:
        outside = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        house.until_ready(2)
        assert house.status()["supervisor"]["pid"] == 1
        [init] = _children(outside.pid)
        os.kill(_children(init)[0], signal.SIGKILL)
        house.until_ready(2)
        until(lambda: len(_states(init)) >= 4 and "Z" not in _states(init), 10, lambda: str(_states(init)))
        os.kill(init, signal.SIGTERM)
        assert outside.wait(20) == 0
        assert house.outcome() == {"exit_code": 0, "message": ""}
        until(lambda: not house.left_over())
    finally:
        outside.kill()
        outside.wait()


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in tasks.read_text().split()]


def _states(pid: int) -> list[str]:
    """How each child of this process is: R, S, Z ..."""
    found = []
    for child in _children(pid):
        try:
            found.append(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0])
        except OSError:
            continue
    return found
