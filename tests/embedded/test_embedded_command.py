"""The command as the supervisor runs it: last words, descriptors, and a supervisor that is gone."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workerctl.broker.embedded import Unusable, find_bin, plan_server
from workerctl.contract import ENV_CHANNEL, Channel, ChannelClosed


@pytest.fixture
def channel_pair():
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def with_channel(theirs):
    return {"env": {**os.environ, ENV_CHANNEL: str(theirs.fileno())}, "pass_fds": [theirs.fileno()]}


def test_what_cannot_work_ends_with_78_one_line_and_last_words(short_home, channel_pair, tmp_path):
    ours, theirs = channel_pair
    command = [*plan_server(short_home).command, "--bin", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **with_channel(theirs))
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    [message] = ours.receive()
    assert message == {"type": "failed", "exit_code": 78, "message": done.stderr.strip()}


def test_without_a_channel_it_still_says_why(short_home, tmp_path):
    command = [*plan_server(short_home).command, "--bin", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "postgres_bin" in done.stderr


def test_binaries_that_do_not_run_here_are_unusable(short_home):
    programs = short_home / "bin"
    programs.mkdir(mode=0o755)
    for name in ("initdb", "postgres", "pg_isready"):
        (programs / name).write_bytes(b"\x7fELF of another machine")
        (programs / name).chmod(0o755)
    server = plan_server(short_home / "home", programs)
    done = subprocess.run(server.command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "does not run here" in done.stderr
    assert "DATABASE_URL" in done.stderr


def test_where_there_is_no_wheel_both_ways_left_are_named(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(Unusable) as refused:
        find_bin(None)
    assert "postgres_bin" in str(refused.value)
    assert "DATABASE_URL" in str(refused.value)


def test_the_server_holds_neither_our_channel_nor_our_lock(used_home, start_embedded, channel_pair, tmp_path):
    ours, theirs = channel_pair
    alive = tmp_path / "alive"
    held = os.open(alive, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    options = with_channel(theirs)
    start_embedded(used_home, env=options["env"], pass_fds=[*options["pass_fds"], held])
    theirs.close()
    os.close(held)
    with pytest.raises(ChannelClosed):
        ours.receive()
    with alive.open() as mine:
        fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_server_whose_supervisor_died_while_it_was_prepared_does_not_start(short_home, start_embedded):
    ours, theirs = Channel.pair()
    running = start_embedded(short_home, wait=False, **with_channel(theirs))
    theirs.close()
    ours.close()
    assert running.process.wait(timeout=60) == 0
    assert not running.is_serving()


def test_the_environment_of_the_server_has_no_secrets(used_home, start_embedded):
    environment = {**os.environ, "DATABASE_URL": "postgresql://u:secret@db/x", "PGPASSWORD": "secret"}
    running = start_embedded(used_home, env=environment)
    assert "secret" not in Path(f"/proc/{running.process.pid}/environ").read_text()
