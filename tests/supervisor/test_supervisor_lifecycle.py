"""Boot, start order, stop and what is left behind: real supervisors, real processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

import pytest
from toy_house import House, is_alive, until

from workerctl.supervisor.composition import Ready


def test_whoever_awaits_it_hears_that_it_has_booted_and_no_sooner(house: House) -> None:
    there = house.folder / "there"
    house.compose(house.command("app", "sleep", "60", ready=Ready("command", ("test", "-e", str(there)))))
    command = [sys.executable, "-m", "workerctl.supervisor", "--await"]
    process = house.launch(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout as told:
        process.stdin.write(os.fsencode(house.home))
        process.stdin.close()
        house.until_state("starting")
        assert not select.select([told], [], [], 0)[0]
        there.touch()
        assert select.select([told], [], [], 15)[0]
        assert told.read() == b""
    house.until_state("running", seconds=1)
    assert house.stop() == 0


def test_workers_are_forked_become_ready_and_leave_when_asked(house: House) -> None:
    house.start(*house.workers(4))
    pids = house.until_ready(4)
    assert house.until_state("running") == "running"
    status = house.status()
    assert status["supervisor"]["version"] == "0.1.0"
    assert [worker["slot"] for worker in status["pools"][0]["workers"]] == [1, 2, 3, 4]
    assert house.stop() == 0
    assert house.outcome() == {"exit_code": 0, "message": ""}
    assert not any(is_alive(pid) for pid in pids)
    assert not house.left_over()


def test_groups_start_in_order_and_stop_in_reverse(house: House) -> None:
    touch = (sys.executable, "-c", f"open({str(house.folder / 'migrated')!r}, 'a').write('once')")
    probe = ("test", "-e", str(house.folder / "database"))
    make = f"import time; time.sleep(0.2); open({str(house.folder / 'database')!r}, 'w'); time.sleep(1000)"
    house.start(
        house.group("collector", "collector"),
        house.command(
            "postgres", sys.executable, "-c", make, role=True, ready=Ready("command", probe), after=("collector",)
        ),
        house.group("migrate", "once", command=touch, role=True, ready=Ready("exit"), after=("postgres",)),
        house.group("template", "template", after=("migrate",)),
        house.group("agent", "agent", after=("migrate",)),
        house.group("default", "pool", after=("template", "agent")),
        house.command("web", "sleep", "1000", after=("default",)),
    )
    house.until_state("running")
    assert (house.folder / "migrated").read_text() == "once"
    status = house.status()
    assert [role["name"] for role in status["roles"]] == ["collector", "postgres", "migrate", "template", "agent"]
    assert status["primary"]["holds_lease"] is True
    assert status["apps"][0]["ready"] == 1
    assert house.stop() == 0
    started = [line.split("slot=")[1].split("/")[0] for line in house.facts("Spawned")]
    assert started == ["collector", "postgres", "migrate", "template", "agent", "default", "default", "web"]
    ended = [line.split("slot=")[1].split("/")[0] for line in house.facts("Exited")]
    assert ended[0] == "migrate" and ended[1] == "web" and ended[2:4] == ["default", "default"]
    assert set(ended[4:6]) == {"template", "agent"} and ended[6:] == ["postgres", "collector"]
    assert not house.left_over()


@pytest.mark.parametrize("state", ["template-unusable", "unusable"])
def test_an_unusable_configuration_ends_the_boot_with_its_reason(house: House, state: str) -> None:
    house.behave(state)
    house.start(*house.workers(2))
    assert house.until_ended() == 78
    assert house.outcome()["message"] in ("no module named nonsense", "setting x is wrong")
    assert not house.left_over()


def test_a_template_that_breaks_ends_the_boot_with_its_last_lines(house: House) -> None:
    house.behave("template-broken")
    (house.home / "logs").mkdir(parents=True)
    line = "2026-11-22T10:28:51.123456Z 1 1 Traceback: it broke\n"  # as the collector writes it
    (house.home / "logs" / "template-1.err.log").write_text(line)
    house.start(*house.workers(2))
    assert house.until_ended() == 1
    assert house.outcome() == {"exit_code": 1, "message": "template ended with exit code 1: Traceback: it broke"}


def test_workers_that_all_crash_at_boot_end_everything(house: House) -> None:
    house.behave("crash-at-boot")
    house.start(*house.workers(2), policy={"backoff_seconds": 0.01})
    assert house.until_ended() == 1
    assert len(house.exits()) == 2 * 5 + 1
    assert not house.left_over()


def test_a_database_that_is_away_ends_a_boot_in_the_background(house: House) -> None:
    house.behave("away")
    pool = house.group("default", "pool", boot_timeout_seconds=1)
    house.start(house.group("template", "template"), pool, policy={"backoff_seconds": 0.05})
    assert house.until_ended() == 69
    assert house.outcome()["message"] == "db.example:5432 does not answer"


def test_in_the_foreground_a_database_that_is_away_is_waited_for(house: House) -> None:
    house.behave("away")
    house.start(*house.workers(2), foreground=True, policy={"environment_backoff_limit_seconds": 0.1})
    house.until_state("waiting for database")
    house.behave("")
    house.until_ready(2)
    assert house.until_state("running")


def test_a_boot_that_takes_too_long_is_killed_and_some_ready_is_degraded(house: House) -> None:
    pool = house.group("default", "pool", instances=2, boot_timeout_seconds=1)
    house.start(house.group("template", "template"), pool, policy={"backoff_seconds": 0.05})
    house.until_ready(2)
    house.behave("never-ready")
    os.kill(house.pids()[0], signal.SIGKILL)
    until(lambda: [line for line in house.exits() if line["cause"] == "boot-timeout"])
    house.until_state("degraded")
    assert len(house.pids()) == 1


def test_a_stop_during_boot_leaves_nothing_behind(house: House) -> None:
    house.behave("slow=20")
    house.start(house.group("collector", "collector"), *house.workers(4, stop_timeout_seconds=0.5))
    until(lambda: len(house.facts("Forked")) == 4)
    house.signal(signal.SIGTERM)
    assert house.until_ended() == 0
    assert not house.left_over()


def test_a_stop_in_the_first_milliseconds_leaves_nothing_behind(house: House) -> None:
    for _ in range(5):
        house.start(*house.workers(4))
        until(lambda: (house.home / "run" / "control.sock").exists())
        house.signal(signal.SIGINT)
        house.until_ended()
        assert not house.left_over()


def test_a_second_interrupt_hurries(house: House) -> None:
    house.behave("ignore-term")
    house.start(*house.workers(2), policy={"hurry_seconds": 0.2})
    house.until_ready(2)
    house.signal(signal.SIGINT)
    until(lambda: len(house.facts("DrainSent")) == 2)
    assert house.until_state("stopping")
    house.signal(signal.SIGINT)
    assert house.until_ended(5) == 0
    assert not house.left_over()


def test_five_terms_at_once_are_a_hurried_stop(house: House) -> None:
    house.start(*house.workers(2))
    house.until_ready(2)
    for _ in range(5):
        house.signal(signal.SIGTERM)
    assert house.until_ended(5) == 0
    assert not house.left_over()


def test_stop_now_does_not_wait_for_drains(house: House) -> None:
    house.behave("ignore-term")
    house.start(*house.workers(2), policy={"hurry_seconds": 0.2})
    house.until_ready(2)
    assert house.stop(5, now=True) == 0


def test_workers_finish_what_they_have_within_the_stop_timeout(house: House) -> None:
    house.behave("drain=0.5")
    house.start(*house.workers(2))
    house.until_ready(2)
    assert house.stop() == 0
    assert [line["exit_code"] for line in house.exits()[:2]] == [0, 0]


def test_a_hangup_does_not_kill(house: House) -> None:
    house.start(*house.workers(1))
    house.until_ready(1)
    house.signal(signal.SIGHUP)
    house.signal(signal.SIGUSR1)
    assert house.status()["supervisor"]["state"] == "running"


def test_a_second_supervisor_is_refused_with_the_pid_of_the_first(house: House) -> None:
    house.start(*house.workers(1))
    house.until_ready(1)
    first = house.process
    assert first is not None
    house.start(*house.workers(1))
    assert house.until_ended() == 3
    assert f"already running as pid {first.pid}" in house.log()
    house.process = first
    assert house.stop() == 0


def test_a_start_right_after_a_stop_is_not_refused(house: House) -> None:
    for _ in range(3):
        house.start(*house.workers(1))
        house.until_ready(1)
        house.ask("stop")
        until(lambda: not (house.home / "run" / "control.sock").exists())
    house.until_ended()
    house.start(*house.workers(1))
    house.until_ready(1)
    assert house.stop() == 0


def test_children_of_a_killed_supervisor_leave_and_the_next_one_waits_for_them(house: House) -> None:
    house.behave("drain=1")
    house.start(house.group("collector", "collector"), *house.workers(2))
    old = house.until_ready(2)
    os.kill(old[0], signal.SIGSTOP)  # still drains when the next supervisor starts
    house.signal(signal.SIGKILL)
    house.until_ended()
    until(lambda: not is_alive(old[1]), 1.0)
    house.start(*house.workers(2))
    until(lambda: house.status()["supervisor"]["state"] == "starting")
    time.sleep(0.2)  # it must not start anything meanwhile; there is no event to wait for
    assert len(house.facts("Spawned")) == 4
    os.kill(old[0], signal.SIGCONT)
    house.until_ready(2)
    assert not is_alive(old[0])
    assert house.stop() == 0


def test_an_earlier_set_that_never_leaves_ends_the_next_start_with_a_reason(house: House) -> None:
    house.start(*house.workers(1))
    (old,) = house.until_ready(1)
    os.kill(old, signal.SIGSTOP)
    house.signal(signal.SIGKILL)
    house.until_ended()
    template = house.group("template", "template", stop_timeout_seconds=0.1)
    pool = house.group("default", "pool", stop_timeout_seconds=0.1)
    house.start(template, pool, policy={"alive_slack_seconds": 0.3})
    assert house.until_ended() == 1
    assert "earlier supervisor" in house.outcome()["message"]


def test_the_home_is_ours_alone(house: House) -> None:
    house.start(*house.workers(1))
    house.until_ready(1)
    modes = {name: (house.home / "run" / name).stat().st_mode & 0o777 for name in ("control.sock", "lock", "alive")}
    assert modes == {"control.sock": 0o600, "lock": 0o600, "alive": 0o600}
    assert house.stop() == 0
    assert (house.home / "state" / "exits.jsonl").stat().st_mode & 0o777 == 0o600
