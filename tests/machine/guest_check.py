"""Runs inside the virtual machine, by its own Python: does things to the service and says what came of it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

WORKERCTL = "/opt/workerctl/.venv/bin/workerctl"
EVENTS = Path("/sys/fs/cgroup/system.slice/workerctl.service/memory.events")
CONSOLE = Path("/dev/ttyS0")
HELD = Path("/var/lib/workerctl/held")  # made by the job that is in hand
PATIENCE_SECONDS = 400.0  # an emulated machine is slow


def say(**facts: object) -> None:
    with CONSOLE.open("w") as console:
        console.write(f"\nFACTS {json.dumps(facts)}\n")


def ask(*command: str) -> str:
    environ = {"WORKERCTL_HOME": "/var/lib/workerctl", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, cwd="/opt/workerctl", env=environ, check=False)
    return done.stdout.strip() or done.stderr.strip()


def service(name: str) -> str:
    return ask("systemctl", "show", "workerctl", "-p", name, "--value")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.5)


def enqueue(kind: str, field: str) -> str:
    """The id of a new job. So slow a machine may have no connection in time."""
    said = ""

    def is_taken() -> bool:
        nonlocal said
        said = ask(WORKERCTL, "enqueue", kind, field)
        return said.isdigit()

    try:
        until(is_taken)
    except TimeoutError:
        raise TimeoutError(f"enqueue {kind}: {said}") from None
    return said


def job(number: str) -> dict[str, object]:
    """As `jobs show` has it; empty where there was no connection in time."""
    with contextlib.suppress(json.JSONDecodeError):
        shown: dict[str, object] = json.loads(ask(WORKERCTL, "jobs", "show", number, "--json"))
        return shown
    return {}


def out_of_memory() -> None:
    """A job takes more than the unit may have: the kernel kills its worker."""
    main = service("MainPID")
    fat = enqueue("fatten", "mebibytes=600")
    until(lambda: "oom_kill 0" not in EVENTS.read_text())
    until(lambda: job(fat).get("status") == "succeeded")
    say(
        step="out of memory",
        main_pid_stays=service("MainPID") == main,
        restarts=service("NRestarts"),
        state=service("ActiveState"),
        attempt=job(fat).get("attempt"),
        why=ask(WORKERCTL, "why", "default"),
    )


def stop() -> None:
    """Jobs in hand finish while systemd stops the unit."""
    held = enqueue("hold", "seconds=8")
    until(HELD.exists)  # a command takes longer here than the job
    ask("systemctl", "stop", "workerctl")
    result, state = service("Result"), service("ActiveState")
    ask("systemctl", "start", "workerctl")
    until(lambda: job(held).get("status") == "succeeded")
    say(step="stop", result=result, state=state, attempt=job(held).get("attempt"))


def main() -> None:
    try:
        until(lambda: service("ActiveState") == "active")
        say(step="start", memory_max=service("MemoryMax"), oom_policy=service("OOMPolicy"))
        out_of_memory()
        stop()
    except Exception as error:
        say(step="failed", error=repr(error), journal=ask("journalctl", "-u", "workerctl", "-o", "cat", "-n", "30"))
    finally:
        subprocess.run(["systemctl", "poweroff"], check=False)


if __name__ == "__main__":
    main()
