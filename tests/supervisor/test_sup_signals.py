"""Signals: none is lost, who sent one is told, and no child inherits that some are blocked here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toy_house import House, processes_of, until

from workerctl.supervisor.signals import NAMED

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="senders are told by signalfd")

SENDER = "import os, sys, time; os.kill(int(sys.argv[1]), int(sys.argv[2])); print(flush=True); time.sleep(60)"

# Answers each hangup, while it starts children all the time.
RECEIVER = """
import os, selectors, signal, subprocess, sys
from workerctl.supervisor.signals import Signals, let_through
signals, senders = Signals(), []
with selectors.DefaultSelector() as selector:
    for descriptor in signals.descriptors:
        selector.register(descriptor, selectors.EVENT_READ)
    print("up", flush=True)
    while True:
        with let_through():
            child = subprocess.Popen(["true"])
        child.wait()
        if selector.select(0):
            for each in signals.take():
                if each.number == signal.SIGHUP:
                    senders.append(each.pid)
                    print(each.pid, flush=True)
                elif each.number == signal.SIGTERM:
                    sys.exit()
"""


@contextmanager
def sender(pid: int, number: signal.Signals) -> Iterator[subprocess.Popen[str]]:
    """A process that has sent this signal and is still there to be looked at."""
    words = [sys.executable, "-c", SENDER, str(pid), str(int(number)), "culprit"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def blocked(pid: int) -> int:
    """The mask of signals that this process's main thread does not take, as a number."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk")]
    return int(line.split()[1], 16)


def test_a_stop_by_a_signal_names_its_sender(house: House) -> None:
    house.start(*house.workers(2))
    house.until_ready(2)
    assert house.process is not None
    with sender(house.process.pid, signal.SIGTERM) as culprit:
        assert house.until_ended() == 0
    asked = [line["asked_by"] for line in house.exits() if line["group"] == "default"]
    assert len(asked) == 2
    for asker in asked:
        assert (asker["command"], asker["uid"], asker["pid"]) == ("SIGTERM", os.getuid(), culprit.pid)
        assert asker["command_line"].endswith("culprit")
    [line] = house.facts("Command")
    assert f"command=SIGTERM uid={os.getuid()} pid={culprit.pid}" in line and "culprit" in line


def test_a_hangup_names_its_sender_to_the_reload_that_it_begins(house: House) -> None:
    note = house.folder / "reason"
    command = (sys.executable, "-c", f"import sys; open({str(note)!r}, 'w').write(sys.argv[-1])", "--reason")
    house.start(*house.workers(1), reload_command=command, project=str(house.folder))
    house.until_ready(1)
    assert house.process is not None
    with sender(house.process.pid, signal.SIGHUP) as culprit:
        reason = until(lambda: note.exists() and note.read_text())
    assert reason.startswith(f"SIGHUP from pid {culprit.pid}, uid {os.getuid()}: ") and reason.endswith("culprit")


def test_of_two_hangups_within_10_ms_the_second_finds_what_was_written_before_it(house: House) -> None:
    wish, seen = house.folder / "wish", house.folder / "seen"
    house.start(*house.workers(1), reload_command=("sh", "-c", f"cat {wish} >> {seen}"), project=str(house.folder))
    house.until_ready(1)
    for number in range(1, 9):
        for half, pause_seconds in (("first", 0.001 * number), ("second", 0.0)):
            wish.write_text(f"{number} {half}\n")
            house.signal(signal.SIGHUP)
            time.sleep(pause_seconds)  # what is tested: the second comes at any moment of the first one's answer
        last = f"{number} second"
        until(lambda last=last: seen.read_text().splitlines()[-1] == last, explain=house.log)  # type: ignore[misc]


@pytest.mark.parametrize(("blow", "cause", "code"), [(signal.SIGTERM, "asked", 0), (signal.SIGKILL, "crash", None)])
def test_a_worker_that_somebody_else_ended_is_told_so(
    house: House, blow: signal.Signals, cause: str, code: int | None
) -> None:
    house.start(*house.workers(1))
    [pid] = house.until_ready(1)
    os.kill(pid, blow)
    [end] = until(house.exits, explain=house.log)
    assert (end["pid"], end["cause"], end["exit_code"]) == (pid, cause, code)
    assert end["asked_by"] == {"command": f"{blow.name} that workerctl did not send"}


def test_no_child_inherits_what_the_supervisor_blocks(house: House) -> None:
    show = "import time; open('mask', 'w').write(open('/proc/self/status').read()); time.sleep(99)"
    probe = ("sh", "-c", f"grep SigBlk /proc/self/status > {house.folder}/probed")
    house.start(
        house.group("collector", "collector"),
        *house.workers(2),
        house.group("agent", "agent"),
        house.command("app", sys.executable, "-c", show),
        house.command("probed", "sleep", "99", ready={"kind": "command", "command": probe}),
    )
    house.until_ready(2)
    until(lambda: house.folder.joinpath("probed").read_text().strip() == "SigBlk:\t" + "0" * 16, explain=house.log)
    until(lambda: "SigBlk:\t" + "0" * 16 in house.folder.joinpath("mask").read_text(), explain=house.log)
    assert house.process is not None
    pids = {pid for pid, _ in processes_of(str(house.folder))} - {house.process.pid}
    assert len(pids) >= 7, "template and its spare, collector, agent, two workers, two apps"
    assert {pid: blocked(pid) for pid in pids} == dict.fromkeys(pids, 0)
    assert blocked(house.process.pid) == sum(1 << (number - 1) for number in NAMED)


def test_no_signal_is_lost_while_children_are_started() -> None:
    with subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True) as receiver:
        assert receiver.stdout is not None
        assert receiver.stdout.readline() == "up\n"
        told = []
        for _ in range(300):
            receiver.send_signal(signal.SIGHUP)
            told.append(receiver.stdout.readline().strip())  # a lost one would be waited for for ever
        receiver.send_signal(signal.SIGTERM)
        assert receiver.wait(10) == 0
    assert set(told) <= {str(os.getpid()), "None"}, "of those that arrive during a start the sender is not known"
