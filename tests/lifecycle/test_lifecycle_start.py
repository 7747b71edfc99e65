"""`start`: what it returns, what it writes, and what it leaves behind when it cannot or must not go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from lifecycle_house import CONFIG, House, until


def test_start_returns_with_the_table_when_every_worker_is_ready(house: House) -> None:
    table = house.start(3)
    assert "3/3 workers ready" in table
    assert [line.split()[:2] for line in table.splitlines()[2:5]] == [["default", str(slot)] for slot in (1, 2, 3)]
    assert len(house.ready()) == 3
    assert house.status()["supervisor"]["state"] == "running"


def test_the_very_first_start_makes_the_database_and_a_private_home(fresh_house: House) -> None:
    fresh_house.start(1)
    for path, status in fresh_house.entries():
        if stat.S_ISLNK(status.st_mode) or "postgres" in path.parts:
            continue
        mode = stat.S_IMODE(status.st_mode)
        expected = 0o700 if stat.S_ISDIR(status.st_mode) or stat.S_ISSOCK(status.st_mode) else 0o600
        assert mode | 0o100 == expected | 0o100, f"{path} has mode {mode:o}"
    database = json.loads((fresh_house.home / "run" / "database.json").read_text())
    assert database["url"].startswith("postgresql://workerctl:")
    assert database["url_direct"] == database["url"]


def test_a_second_start_is_refused_with_the_pid_of_the_first(running: House) -> None:
    line = running.fails(3, "start", "--instances", 2)
    assert f"pid {running.supervisor_pid}" in line


def test_of_two_starts_at_once_one_runs_and_the_other_is_told_so(house: House) -> None:
    starts = [house.launch("start", "--instances", 1) for _ in range(2)]
    ends = [(process.communicate(timeout=60), process.returncode) for process in starts]
    assert sorted(code for _, code in ends) == [0, 3], ends
    [errors] = [output[1] for output, code in ends if code == 3]
    assert f"already running as pid {house.supervisor_pid}" in errors


def test_zero_instances_is_a_valid_number(house: House) -> None:
    assert "0/0 workers ready" in house.start(0)
    assert house.workers() == []


def test_auto_and_max_follow_the_cores_of_this_process(house: House) -> None:
    cores = len(os.sched_getaffinity(0))
    house.ok("start", "--instances", "max")
    assert len(house.ready()) == cores
    house.ok("stop")
    house.ok("start", "--instances", "auto")
    assert len(house.ready()) == max(1, cores - house.status()["node"]["reserved_cores"])


@pytest.mark.parametrize("number", ["many", "-1", "513", "1.5", ""])
def test_a_number_of_instances_that_is_none_is_wrong_usage(fresh_house: House, number: str) -> None:
    assert "--instances" in fresh_house.fails(2, "start", f"--instances={number}")
    assert not fresh_house.home.exists()


def test_no_wait_returns_before_the_workers_are_ready(build: Callable[[str], House]) -> None:
    house = build(CONFIG.replace('["kinds"]', '["kinds", "slow"]'))
    gate = f"Path({str(house.gate)!r})"
    slow = f"import time\nfrom pathlib import Path\nwhile not {gate}.exists():\n    time.sleep(0.01)\n"
    (house.folder / "slow.py").write_text(slow)
    done = house.run("start", "--instances", 2, "--no-wait")
    assert done.returncode == 0
    assert "starting as pid" in done.stderr
    until(house.is_running)
    assert house.ready() == []
    house.open_gate()
    house.until_ready(2)


def test_in_the_foreground_sigterm_drains_and_ends_with_zero(house: House) -> None:
    process = house.launch("start", "--foreground", "--instances", 2)
    until(house.is_running)
    house.until_ready(2)
    assert house.supervisor_pid == process.pid
    job = house.gated()
    process.send_signal(signal.SIGTERM)
    until(lambda: house.status()["supervisor"]["state"] == "stopping")
    house.open_gate()
    assert process.wait(timeout=20) == 0
    house.assert_nothing_runs()
    assert len(house.noted("ended", job)) == 1


def test_ready_is_told_to_the_notify_socket_once_all_workers_are(house: House) -> None:
    path = house.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(60)
        process = house.launch("start", "--foreground", "--instances", 2, NOTIFY_SOCKET=str(path))
        told = b""
        while b"READY=1" not in told:
            told = notify.recv(4096)
        assert len(house.ready()) == 2
        process.send_signal(signal.SIGTERM)
        while b"STOPPING=1" not in told:
            told = notify.recv(4096)
    assert process.wait(timeout=20) == 0


def _interrupt(house: House, moment: str) -> subprocess.Popen[str]:
    process = house.launch("start", "--instances", 2)
    match moment:
        case "before the supervisor":
            until((house.home / "run").exists)
        case "as the supervisor begins":
            until((house.home / "run" / "lock").exists)
        case "while postgres boots":
            until(lambda: "slot=postgres/1" in house.log())
        case "while the workers boot":
            until(lambda: "slot=default/1" in house.log())
    process.send_signal(signal.SIGINT)
    return process


MOMENTS = ["before the supervisor", "as the supervisor begins", "while postgres boots", "while the workers boot"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_during_start_leaves_nothing_behind(fresh_house: House, moment: str) -> None:
    process = _interrupt(fresh_house, moment)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "Traceback" not in errors
    fresh_house.assert_nothing_runs()
    assert fresh_house.start(1)


def test_a_start_that_is_terminated_takes_its_supervisor_along(house: House) -> None:
    process = house.launch("start")
    until(lambda: "event Started" in house.log())
    process.terminate()
    _, errors = process.communicate(timeout=40)
    assert (process.returncode, errors) == (143, "")
    house.assert_nothing_runs()


def test_the_connections_of_too_many_workers_are_refused_with_the_sum(house: House, database_url: str) -> None:
    house.environ["DATABASE_URL"] = database_url
    line = house.fails(78, "start", "--instances", 40)
    assert "connection_limit is 20" in line
    assert "40 workers" in line
    assert not house.is_running()


def test_every_worker_that_is_accepted_gets_its_connections(house: House) -> None:
    house.start(0)
    with house.database() as connection:
        row = connection.execute("SELECT current_setting('max_connections')::integer").fetchone()
    refusal = house.fails(1, "scale", 512)
    words = refusal.split()
    needed, limit = int(words[words.index("need") + 1]), int(words[-1])
    assert row is not None
    assert limit < row[0] < needed


def test_a_start_without_workers_says_why_and_leaves_nothing(house: House) -> None:
    (house.folder / "kinds.py").write_text("raise RuntimeError('this module is broken')\n")
    line = house.fails(1, "start", "--instances", 1)
    assert "importing kinds failed: RuntimeError: this module is broken" in line
    house.assert_nothing_runs()


def test_an_app_that_cannot_be_started_leaves_it_degraded_with_the_reason(build: Callable[[str], House]) -> None:
    house = build(f'{CONFIG}[apps.web]\ncommand = "nosuchprogram --port 1"\n')
    line = house.fails(1, "start", "--instances", 1)
    assert line.startswith("workerctl: degraded: web/1 was given up")
    assert "No such file or directory: nosuchprogram" in line
    assert len(house.ready()) == 1


def test_a_module_that_does_not_exist_is_an_unusable_configuration(house: House) -> None:
    (house.folder / "kinds.py").unlink()
    assert "there is no module 'kinds'" in house.fails(78, "start", "--instances", 1)
    house.assert_nothing_runs()


def test_a_module_that_starts_a_thread_is_named(house: House) -> None:
    text = (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), name='ticker', daemon=True).start()\n"
    )
    (house.folder / "kinds.py").write_text(text)
    line = house.fails(78, "start", "--instances", 1)
    assert "ticker" in line
    assert "kinds" in line


def test_an_unreachable_database_ends_the_start_with_host_and_port_and_no_password(fresh_house: House) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = taken.getsockname()[1]
        fresh_house.configure('[supervisor]\nboot_timeout = "2s"\n[jobs]\nshipped = false\n')
        url = f"postgresql://somebody:verysecret@127.0.0.1:{port}/queue"
        done = fresh_house.run("start", "--instances", 1, DATABASE_URL=url)
    assert done.returncode == 69, done.stderr
    assert f"127.0.0.1:{port}" in done.stderr
    assert "verysecret" not in done.stderr + done.stdout + fresh_house.log()
    fresh_house.assert_nothing_runs()


def test_in_the_foreground_a_database_that_is_away_is_waited_for(fresh_house: House) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://somebody:verysecret@127.0.0.1:{taken.getsockname()[1]}/queue"
        fresh_house.configure('[supervisor]\nboot_timeout = "5s"\n[jobs]\nshipped = false\n')
        process = fresh_house.launch("start", "--foreground", "--instances", 1, DATABASE_URL=url)
        until(fresh_house.is_running)
        until(lambda: fresh_house.status()["supervisor"]["state"] == "waiting for database")
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0


def test_a_home_with_a_path_too_long_for_a_socket_works_too(house: House) -> None:
    deep = house.folder / ("deep" * 20) / "deeper"
    deep.parent.mkdir()
    subprocess.run(["cp", "-a", house.home, deep], check=True)
    (house.folder / "gate").touch()
    try:
        house.ok("--home", deep, "start", "--instances", 1)
        assert json.loads(house.ok("--home", deep, "enqueue", "add", "a=1", "b=2", "--wait"))["sum"] == 3
        assert house.ok("--home", deep, "status")
    finally:
        house.run("--home", deep, "stop")


def test_a_house_in_a_folder_with_chinese_name_and_spaces_works(house: House) -> None:
    odd = house.folder / "我的 小说"
    odd.mkdir()
    for name in ("workerctl.toml", "kinds.py"):
        (odd / name).write_bytes((house.folder / name).read_bytes())
    subprocess.run(["cp", "-a", house.home, odd / ".workerctl"], check=True)
    config = odd / "workerctl.toml"
    try:
        house.ok("-c", config, "start", "--instances", 1)
        assert json.loads(house.ok("-c", config, "enqueue", "add", "a=1", "--wait"))["sum"] == 1
    finally:
        house.run("-c", config, "stop")
    assert not Path(house.home / "run").exists()
