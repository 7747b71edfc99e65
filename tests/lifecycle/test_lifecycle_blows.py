"""Signals from outside while a set boots, runs, reloads and stops, and what an earlier life left in the home."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import pytest
from lifecycle_house import CONFIG, HURRIED_SECONDS, House, until
from lifecycle_ledger import Ledger, stands

BROKEN = "raise RuntimeError('half written')\n"
THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), name='ticker', daemon=True).start()\n"


def test_five_terms_while_jobs_run_end_in_a_second_and_every_job_is_done_once(house: House) -> None:
    house.start(2)
    ledger = Ledger(house)
    ledger.enqueue(40, seconds=0.2)
    job = house.gated("gated.thread")
    pid, began = house.supervisor_pid, time.monotonic()
    os.kill(pid, signal.SIGTERM)
    until(lambda: house.status()["supervisor"]["state"] == "stopping")  # at once, five would be one to the kernel
    for _ in range(4):
        os.kill(pid, signal.SIGTERM)
    until(lambda: not house.is_running())
    assert time.monotonic() - began < HURRIED_SECONDS
    house.assert_nothing_runs()
    house.start(2)
    house.open_gate()
    ledger.settled()
    assert house.until_status(job, "succeeded")["failures"] == 0


def test_ctrl_c_in_the_terminal_reaches_the_whole_group_and_drains(house: House) -> None:
    process = house.launch("start", "--foreground", "--instances", 2)
    until(lambda: house.is_running() and len(house.ready()) == 2)
    job = house.gated("gated.thread")
    os.killpg(process.pid, signal.SIGINT)
    until(lambda: house.status()["supervisor"]["state"] == "stopping")
    house.open_gate()
    assert process.wait(timeout=20) == 0
    house.assert_nothing_runs()
    house.start(1)
    ended = house.job(job)
    assert (ended["status"], ended["attempt"]) == ("succeeded", 1)


@pytest.mark.parametrize("blow", [signal.SIGTERM, signal.SIGKILL])
def test_a_blow_during_boot_leaves_nothing_that_the_next_start_could_stumble_over(
    house: House, blow: signal.Signals
) -> None:
    process = house.launch("start", "--foreground", "--instances", 2)
    until(lambda: (house.home / "run" / "control.sock").exists() and " Spawned " in house.log())
    os.kill(process.pid, blow)
    house.orphaned = blow is signal.SIGKILL
    assert process.wait(timeout=20) == (0 if blow is signal.SIGTERM else -signal.SIGKILL)
    if blow is signal.SIGTERM:
        house.assert_nothing_runs()
    house.start(2)
    stands(house, 2)


def test_two_hangups_within_ten_milliseconds_are_reloads_that_lose_nothing(house: House) -> None:
    house.start(2)
    before = {worker["pid"] for worker in house.workers()}
    ledger = Ledger(house)
    ledger.enqueue(60, seconds=0.1)
    pid = house.supervisor_pid
    os.kill(pid, signal.SIGHUP)
    time.sleep(0.01)
    os.kill(pid, signal.SIGHUP)
    until(lambda: not before & {worker["pid"] for worker in house.workers()}, what="both workers are new")
    until(lambda: house.status()["supervisor"]["state"] == "running")
    assert set(ledger.settled().values()) == {1}
    assert 1 <= house.log().count(" event Committed ") <= 2
    stands(house, 2)


def test_code_that_cannot_run_is_refused_and_the_committed_one_scales_crashes_and_works_on(house: House) -> None:
    house.start(2)
    good = (house.folder / "kinds.py").read_text()
    before = {worker["pid"] for worker in house.workers()}
    for code, words in ((BROKEN, "half written"), (THREAD, "ticker"), ("def (\n", "SyntaxError")):
        (house.folder / "kinds.py").write_text(code)
        refused = house.run("reload")
        assert (refused.returncode, words in refused.stderr) == (1, True), refused.stderr
        assert "the old release serves on" in refused.stderr
        assert {worker["pid"] for worker in house.workers()} == before
    ledger = Ledger(house)
    ledger.enqueue(30, seconds=0.05)
    house.ok("scale", "4", "--wait")
    os.kill(house.ready()[0]["pid"], signal.SIGKILL)
    stands(house, 4)
    ledger.settled()
    assert len({worker["release"] for worker in house.workers()}) == 1
    (house.folder / "kinds.py").write_text(good)
    house.ok("reload")
    stands(house, 4)


TWO_TEMPLATES = CONFIG + '[pools.other]\nqueues = ["other"]\ninstances = 1\nenv = {FLAVOUR = "other"}\n'


def test_two_templates_that_die_at_once_come_back_and_nobody_waits(build: Callable[..., House]) -> None:
    house = build(TWO_TEMPLATES)
    house.start(2)
    assert len(house.ready("other")) == 1
    templates = house.titled("template")
    assert len(templates) >= 2
    ledger = Ledger(house)
    ledger.enqueue(30, seconds=0.05)
    before = {worker["pid"] for worker in house.workers()}
    for process in templates:
        process.kill()
    until(lambda: not {process.pid for process in templates} & {process.pid for process in house.titled("template")})
    ledger.settled()
    stands(house, 2)
    assert {worker["pid"] for worker in house.workers()} == before
    victims = [house.ready()[0]["pid"], house.ready("other")[0]["pid"]]
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    until(lambda: [worker for worker in house.ready("other") if worker["pid"] not in victims])
    stands(house, 2)


def test_what_an_earlier_life_left_names_somebody_else_by_now_and_harms_nobody(house: House) -> None:
    innocent = subprocess.Popen(["sleep", "60"])
    try:
        run = house.home / "run"
        run.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(run / "control.sock"))
        for name in ("lock", "alive"):
            (run / name).write_text(f"{innocent.pid}\n")
        (run / "outcome.json").write_text('{"exit_code": 1, "message": "of another day"}')
        (run / "composition.json").write_text("half a comp")
        assert "no supervisor runs" in house.fails(4, "status")
        house.start(1)
        stands(house, 1)
        house.ok("stop")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_storm_of_crashes_parks_the_slots_keeps_the_jobs_and_ends_with_reset(house: House) -> None:
    """Every worker is killed as soon as it is ready, faster than fifty times a second where the machine can."""
    house.start(8)
    killed: set[int] = set()
    slowest = 0.0
    deadline = time.monotonic() + 30
    while any(worker["phase"] != "parked" for worker in _slots(house)):
        assert time.monotonic() < deadline, _slots(house)
        asked = time.monotonic()
        ready = [worker["pid"] for worker in house.ready() if worker["pid"] not in killed]
        slowest = max(slowest, time.monotonic() - asked)
        for pid in ready:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    assert house.status()["supervisor"]["state"] == "degraded"
    assert slowest < 1.0, f"status took {slowest:.2f} s"
    assert len(killed) == 8 * 5
    ledger = Ledger(house)
    ledger.enqueue(20)
    assert "crash (signal 9)" in house.ok("status")
    assert "signal 9" in house.ok("why", "default/1")
    house.ok("reset", "default")
    stands(house, 8)
    assert set(ledger.settled().values()) == {1}


def _slots(house: House) -> list[dict[str, object]]:
    [team] = house.status()["pools"]
    found: list[dict[str, object]] = team["workers"]
    return found
