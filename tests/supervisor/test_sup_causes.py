"""Every cause of the closed list, once with a real process: what the history says of it."""

from __future__ import annotations

import contextlib
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_house import House, is_alive, until

from workerctl.supervisor.states import FAULTS, RECYCLED, Cause

MEBIBYTE = 1 << 20
MEMORY = Path("/sys/fs/cgroup/memory")  # of cgroup v1


def causes(house: House, group: str = "default") -> list[str]:
    return [line["cause"] for line in house.exits() if line["group"] == group]


def until_cause(house: House, cause: Cause) -> dict[str, object]:
    return until(lambda: [line for line in house.exits() if line["cause"] == cause], 20, house.log)[0]


def test_causes_are_labels_of_three_budgets() -> None:
    planned = {Cause.ASKED, Cause.RELOAD, Cause.SCALED, Cause.PARENT_LOST} | RECYCLED
    assert planned | FAULTS | {Cause.DATABASE_AWAY} == set(Cause)
    assert not planned & FAULTS


@pytest.mark.parametrize(
    ("behaviour", "fields", "cause", "code", "number"),
    [
        ("crash-at-boot", {}, Cause.BOOT_ERROR, 1, None),
        ("never-ready", {"boot_timeout_seconds": 0.3}, Cause.BOOT_TIMEOUT, None, 9),
        ("crash-when-ready", {}, Cause.CRASH, None, 9),
        ("silent", {}, Cause.HUNG, None, 9),
        ("away", {}, Cause.DATABASE_AWAY, 69, None),
        (
            "fat=100",
            {"max_memory_bytes": 60 * MEBIBYTE, "max_memory_hard_bytes": 90 * MEBIBYTE},
            Cause.MEMORY_HARD,
            None,
            9,
        ),
        ("fat=100", {"max_memory_bytes": 60 * MEBIBYTE}, Cause.MEMORY_SOFT, 0, None),
        ("", {"lifetime_seconds": 0.3}, Cause.LIFETIME, 0, None),
        ("", {"max_jobs": 7}, Cause.LIFETIME, 0, None),
    ],
)
def test_what_happens_to_a_worker_is_told_by_its_cause(
    house: House, behaviour: str, fields: dict[str, object], cause: Cause, code: int | None, number: int | None
) -> None:
    house.behave(behaviour)
    house.start(*house.workers(1, **fields), policy={"sample_seconds": 0.05, "hung_seconds": 0.4}, foreground=True)
    end = until_cause(house, cause)
    assert (end["exit_code"], end["signal"]) == (code, number)


def test_planned_ends_are_told_by_who_wanted_what(house: House) -> None:
    house.start(*house.workers(2), policy={"probation_seconds": 0.1})
    house.until_ready(2)
    house.until_state("running")
    house.ask("restart", name="default")
    until(lambda: causes(house) == ["asked"] * 2)
    house.ask("scale", pool="default", to=1)
    until(lambda: causes(house)[2:] == ["scaled"])
    house.until_reloaded(house.reload(*house.workers(1)))
    until(lambda: causes(house)[3:] == ["reload"])
    assert house.stop() == 0
    assert causes(house)[4:] == ["asked"]


def test_workers_that_outlived_their_supervisor_are_told_of_by_the_next_one(house: House) -> None:
    house.start(*house.workers(2), policy={"sample_seconds": 0.05})
    pids = house.until_ready(2)
    until(
        lambda: (
            {str(pid) for pid in pids}
            <= set((house.home / "run" / "living.json").read_text().replace(",", " ").split())
        )
    )
    house.signal(signal.SIGKILL)
    until(lambda: not any(is_alive(pid) for pid in pids), 5)
    house.start(*house.workers(2))
    house.until_ready(2)
    ends = [line for line in house.exits() if line["cause"] == "parent-lost"]
    assert {line["pid"] for line in ends if line["group"] == "default"} == set(pids)
    assert {line["slot"] for line in ends if line["group"] == "default"} == {1, 2}
    assert house.stop() == 0
    assert not (house.home / "run" / "living.json").exists()


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A cgroup of the test's own with 48 MB."""
    folder = MEMORY / f"workerctl-test-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir()
        (folder / "memory.limit_in_bytes").write_text(str(48 * MEBIBYTE))
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no cgroup v1 can be made here: {error}")
    yield folder
    for pid in (folder / "cgroup.procs").read_text().split():
        with contextlib.suppress(OSError):
            (MEMORY / "cgroup.procs").write_text(pid)
    until(lambda: _removed(folder), 10)


def _removed(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def test_a_worker_that_the_kernel_killed_for_memory_is_told_so(house: House, memory_group: Path) -> None:
    house.start(*house.workers(1), memory_cgroups=(str(memory_group),))
    [pid] = house.until_ready(1)
    template = house.role("template")["pid"]
    (memory_group / "cgroup.procs").write_text(str(template))  # what it forks from now on is limited
    os.kill(pid, signal.SIGKILL)
    until(lambda: causes(house) == ["crash"])
    house.until_ready(1)
    house.behave("fat=200")
    house.ask("restart", name="default")
    end = until_cause(house, Cause.KERNEL_OOM)
    assert end["signal"] == 9
    house.behave("")
    house.until_ready(1, 30)
    assert "kernel-oom" in house.log()
    assert house.stop() == 0


def test_a_kill_of_ours_takes_no_kill_of_the_kernel_for_its_own(house: House, tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("oom_kill 0\n")
    house.start(*house.workers(2), memory_cgroups=(str(tmp_path),), policy={"hung_seconds": 0.5})
    hung, killed = house.until_ready(2)
    (tmp_path / "memory.events").write_text("oom_kill 1\n")  # of the other worker, whose end is seen later
    os.kill(hung, signal.SIGSTOP)
    until(lambda: causes(house) == ["hung"])
    os.kill(killed, signal.SIGKILL)
    until(lambda: causes(house) == ["hung", "kernel-oom"])
