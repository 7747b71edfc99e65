"""Processes that crash, hang, ignore, swell and leave children behind."""

from __future__ import annotations

import os
import resource
import signal
import statistics
import sys
import time
from functools import partial
from pathlib import Path

from toy_house import House, is_alive, processes_of, until


def test_a_killed_worker_has_a_successor_within_milliseconds(house: House) -> None:
    house.start(*house.workers(2))
    house.until_ready(2)
    waits = []
    for _ in range(5):
        victim = house.pids()[0]
        killed_at = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        waits.append(until(partial(_went_after, house, killed_at)) - killed_at)
        house.until_ready(2)
        house.ask("reset", name="default")
    print(f"kill -9 to go: median {statistics.median(waits) * 1000:.1f} ms of {[round(w * 1000, 1) for w in waits]}")
    assert statistics.median(waits) < 0.5
    assert [line["cause"] for line in house.exits()] == ["crash"] * 5
    assert [line["signal"] for line in house.exits()] == [9] * 5


def _went_after(house: House, instant: float) -> float | None:
    lines = (house.folder / "went").read_text().splitlines()
    return next((float(line.split()[0]) for line in lines if float(line.split()[0]) > instant), None)


def test_a_crash_loop_parks_the_slot_and_reset_brings_it_back(house: House) -> None:
    house.start(*house.workers(2), policy={"backoff_seconds": 0.01})
    house.until_ready(2)
    house.behave("crash-at-boot")
    os.kill(house.pids()[0], signal.SIGKILL)
    until(lambda: "parked" in [worker["phase"] for worker in house.pool()["workers"]])
    assert house.until_state("degraded")
    assert len(house.exits()) == 5
    house.behave("")
    house.ask("reset", name="default")
    house.until_ready(2)
    assert house.until_state("running")


def test_a_worker_that_finds_its_configuration_unusable_is_parked_at_once(house: House) -> None:
    house.start(*house.workers(2))
    house.until_ready(2)
    house.behave("unusable")
    os.kill(house.pids()[0], signal.SIGKILL)
    until(lambda: "parked" in [worker["phase"] for worker in house.pool()["workers"]])
    assert [line["exit_code"] for line in house.exits()] == [None, 78]
    assert house.until_state("degraded")
    assert house.pool()["workers"][0]["last_exit"]["message"] == "setting x is wrong"


def test_a_worker_that_dies_before_its_template_reported_it_is_a_boot_error(house: House) -> None:
    house.start(*house.workers(1))
    house.until_ready(1)
    house.behave("die-early")
    os.kill(house.pids()[0], signal.SIGKILL)
    until(lambda: [line for line in house.exits() if line["exit_code"] == 5])
    house.behave("")
    house.ask("reset", name="default")
    house.until_ready(1)


def test_a_stopped_worker_is_hung_and_killed(house: House) -> None:
    house.start(*house.workers(2), policy={"hung_seconds": 0.5})
    first = house.until_ready(2)[0]
    os.kill(first, signal.SIGSTOP)
    until(lambda: not is_alive(first))
    house.until_ready(2)
    assert house.exits()[0]["cause"] == "hung"


def test_a_stopped_collector_or_agent_is_hung_and_replaced_while_workers_live_on(house: House) -> None:
    roles = (house.group("collector", "collector"), house.group("agent", "agent"))
    house.start(*roles, *house.workers(2, after=("collector", "template")), policy={"hung_seconds": 0.7})
    pids = house.until_ready(2)
    house.until_state("running")
    stopped = {name: house.role(name)["pid"] for name in ("collector", "agent")}
    for pid in stopped.values():
        os.kill(pid, signal.SIGSTOP)
    for name, pid in stopped.items():
        until(lambda name=name, pid=pid: house.role(name)["phase"] == "ready" and house.role(name)["pid"] != pid)
    assert [(line["group"], line["cause"]) for line in sorted(house.exits(), key=lambda line: line["group"])] == [
        ("agent", "hung"),
        ("collector", "hung"),
    ]
    assert house.pids() == pids
    assert house.stop() == 0


def test_a_worker_that_is_killed_for_hanging_says_where_first(house: House) -> None:
    house.behave("silent")
    house.start(house.group("collector", "collector"), *house.workers(1), policy={"hung_seconds": 0.4})
    until(lambda: [line for line in house.exits() if line["cause"] == "hung"])
    house.behave("")
    stacks = (house.folder / "default-1.err").read_text()
    assert "most recent call first" in stacks and "in hang_in_here" in stacks
    house.until_ready(1)
    assert house.stop() == 0


def test_a_supervisor_that_was_stopped_itself_hangs_nobody(house: House) -> None:
    house.start(*house.workers(2), policy={"hung_seconds": 0.6})
    pids = house.until_ready(2)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    house.signal(signal.SIGSTOP)
    time.sleep(2.0)  # the machine was paused: nothing runs, nothing can be waited for
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    house.signal(signal.SIGCONT)
    until(lambda: house.facts("Slept"))
    assert house.until_ready(2) == pids


def test_a_worker_that_ignores_the_signal_is_killed_after_the_stop_timeout(house: House) -> None:
    house.behave("ignore-term")
    house.start(*house.workers(1, stop_timeout_seconds=0.5))
    house.until_ready(1)
    begun = time.monotonic()
    assert house.stop() == 0
    assert 0.5 <= time.monotonic() - begun < 5
    assert (house.exits()[0]["signal"], house.exits()[0]["cause"]) == (9, "asked")


def test_grandchildren_that_hold_the_output_die_with_their_worker(house: House) -> None:
    house.behave("grandchild stray")
    house.start(house.group("collector", "collector"), *house.workers(1))
    (pid,) = house.until_ready(1)
    sleepers = until(lambda: _sleepers(house))

    house.behave("")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not any(is_alive(sleeper) for sleeper in sleepers))
    house.until_ready(1)
    assert house.stop() == 0


def _sleepers(house: House) -> list[int] | None:
    found = [pid for pid, line in processes_of(str(house.folder)) if "sleep" in line]
    return found if len(found) >= 3 else None


def test_a_killed_collector_is_replaced_on_the_same_pipes(house: House) -> None:
    house.start(house.group("collector", "collector"), *house.workers(2, after=("collector", "template")))
    house.until_ready(2)
    until(lambda: "hello" in (house.folder / "default-1.out").read_text())
    collector = house.role("collector")["pid"]
    streams = {line.split()[1] for line in (house.folder / "followed").read_text().splitlines()}
    os.kill(collector, signal.SIGKILL)
    fresh = until(lambda: house.role("collector")["phase"] == "ready" and house.role("collector")["pid"])
    again = until(lambda: _followed_by(house, fresh) if _followed_by(house, fresh) >= streams else None)
    assert again == streams
    os.kill(house.pids()[0], signal.SIGKILL)
    house.until_ready(2)
    until(lambda: (house.folder / "default-1.out").read_text().count("hello") == 2)
    assert house.stop() == 0


def _followed_by(house: House, pid: object) -> set[str]:
    lines = [line.split() for line in (house.folder / "followed").read_text().splitlines()]
    return {stream for follower, stream in lines if follower == str(pid)}


def test_the_agent_hears_of_a_lost_worker_until_it_answers(house: House) -> None:
    house.start(house.group("agent", "agent"), *house.workers(2), policy={"lost_repeat_seconds": 0.1})
    house.until_ready(2)
    house.until_state("running")
    until(lambda: house.agent_messages("alive"))
    (house.folder / "mute").touch()
    lost = house.pool()["workers"][0]["incarnation"]
    os.kill(house.pids()[0], signal.SIGKILL)
    until(lambda: len(house.agent_messages("lost")) >= 3)
    assert {message["incarnation"] for message in house.agent_messages("lost")} == {lost}
    agent = house.role("agent")["pid"]
    os.kill(agent, signal.SIGKILL)
    until(lambda: [message for message in house.agent_messages("lost") if message["agent"] != agent])
    fresh = house.agent_messages("alive")[-1]
    assert lost not in fresh["incarnations"] and len(fresh["incarnations"]) == 2
    (house.folder / "mute").unlink()
    until(lambda: house.facts("Released"))
    assert [message["name"] for message in house.agent_messages("pool")] == ["default"] * 2
    assert house.stop() == 0


def test_a_hundred_crashes_leak_no_descriptor(house: House) -> None:
    policy = {"fault_limit": 10**6, "backoff_seconds": 0.0}
    house.start(
        house.group("collector", "collector"), *house.workers(2, after=("collector", "template")), policy=policy
    )
    house.until_ready(2)
    before = until(lambda: _descriptors(house))
    house.behave("crash-when-ready")
    until(lambda: len(house.exits()) >= 100, 40)
    house.behave("")
    house.until_ready(2)
    until(lambda: _descriptors(house) <= before)
    assert house.stop() == 0


def _descriptors(house: House) -> int:
    assert house.process is not None
    return len(list(Path(f"/proc/{house.process.pid}/fd").iterdir()))


def test_without_free_descriptors_nothing_dies_and_all_comes_back(house: House) -> None:
    house.start(
        house.group("collector", "collector"),
        house.group("agent", "agent"),
        *house.workers(2, after=("collector", "template")),
    )
    pids = house.until_ready(2)
    assert house.process is not None
    house.until_state("running")
    soft, hard = resource.prlimit(house.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(house.process.pid, resource.RLIMIT_NOFILE, (_descriptors(house), hard))
    house.ask("scale", pool="default", to=6)
    until(lambda: house.facts("SpawnFailed"))
    os.kill(house.role("collector")["pid"], signal.SIGKILL)
    os.kill(house.role("agent")["pid"], signal.SIGKILL)
    until(lambda: len(house.exits()) >= 2)
    assert set(pids) <= set(house.pids())
    resource.prlimit(house.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    house.until_ready(6)
    assert house.until_state("running")
    until(lambda: len(house.agent_messages("alive")) >= 2)
    assert house.stop() == 0


def test_a_command_that_does_not_exist_is_parked_while_the_rest_serves(house: House) -> None:
    house.start(*house.workers(1), house.command("ghost", "/nowhere/at/all"), policy={"backoff_seconds": 0.01})
    house.until_ready(1)
    assert house.until_state("degraded")
    assert "No such file" in house.facts("SpawnFailed")[0]
    assert "could not be started: No such file or directory: /nowhere/at/all" in house.status()["warnings"][0]["text"]


def test_a_worker_over_its_memory_gets_a_successor_first(house: House) -> None:
    house.behave("fat=60 drain=0.3")
    house.start(*house.workers(2, max_memory_bytes=50 << 20), policy={"sample_seconds": 0.1})
    house.until_ready(2)
    house.behave("")
    until(lambda: len([line for line in house.exits() if line["cause"] == "memory-soft"]) == 2)
    house.until_ready(2)
    facts = [line.split(" event ")[1].split()[0] for line in house.log().splitlines() if "replaces=memory-soft" in line]
    assert facts == ["Spawned", "Spawned"]
    assert all(line["rss_bytes"] > 50 << 20 and line["exit_code"] == 0 for line in house.exits())


def test_a_python_app_that_crashes_is_restarted_with_its_own_budget(house: House) -> None:
    app = house.command("app", sys.executable, "-c", "import sys; sys.exit(3)", after=("default",))
    house.start(*house.workers(1), app, policy={"backoff_seconds": 0.01})
    until(lambda: house.status()["apps"][0]["processes"][0]["phase"] == "parked")
    assert len(house.pids()) == 1
    assert [line["exit_code"] for line in house.exits()] == [3] * 5
