"""The same product as an ordinary user, and homes that two users share by mistake. Needs root to change users."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from lifecycle_house import House, until
from lifecycle_users import PYTHON, SOMEBODY, as_somebody, why_nobody_else


@pytest.fixture(scope="module", autouse=True)
def _another_user() -> None:
    reason = why_nobody_else()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def open_house(fresh_house: House) -> House:
    """A project folder that belongs to the ordinary user."""
    os.chown(fresh_house.folder, SOMEBODY, SOMEBODY)
    return fresh_house


def test_an_ordinary_user_starts_enqueues_looks_and_stops(open_house: House) -> None:
    def ok(*arguments: object) -> str:
        done = as_somebody(open_house, *arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stderr}{open_house.log()}"
        return done.stdout

    assert "2/2 workers ready" in ok("start", "--instances", 2)
    assert json.loads(ok("enqueue", "add", "a=1", "b=2", "--wait"))["sum"] == 3
    document = json.loads(ok("status", "--json"))
    assert {Path(f"/proc/{worker['pid']}").stat().st_uid for worker in document["pools"][0]["workers"]} == {SOMEBODY}
    assert "1/1 workers ready" in ok("scale", 1, "--wait") + ok("status")
    os.kill(document["pools"][0]["workers"][0]["pid"], 9)
    until(lambda: open_house.exits() and len(open_house.ready()) == 1)
    assert "signal 9" in ok("why", "default/1")
    assert ok("logs")
    ok("stop")
    open_house.assert_nothing_runs()


@pytest.mark.parametrize("command", ["start", "status", "enqueue add a=1", "logs", "stop", "scale 2", "jobs list"])
def test_a_home_that_root_started_is_closed_to_others_in_one_line(house: House, command: str) -> None:
    house.folder.chmod(0o777)
    done = as_somebody(house, *command.split())
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert f"{house.home} belongs to uid 0" in done.stderr


def test_a_home_of_the_users_in_which_root_started_once_names_the_file(open_house: House, database_url: str) -> None:
    open_house.home.mkdir(mode=0o700)
    os.chown(open_house.home, SOMEBODY, SOMEBODY)
    open_house.ok("start", "--instances", 1, DATABASE_URL=database_url)
    open_house.ok("stop")
    done = as_somebody(open_house, "start", "--instances", 1, DATABASE_URL=database_url)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert "belongs to uid 0" in done.stderr
    assert "chown" in done.stderr


def test_another_user_gets_no_answer_from_the_control_socket(running: House) -> None:
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "try:\n s.connect(sys.argv[1])\nexcept PermissionError:\n sys.exit(7)\n"
    )
    done = subprocess.run(
        [PYTHON, "-c", code, running.home / "run" / "control.sock"], user=SOMEBODY, cwd="/", check=False
    )
    assert done.returncode == 7


def test_another_user_is_hung_up_on_though_the_files_would_let_them_in(running: House) -> None:
    code = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\n"
        "try:\n s.sendall(b'{\"command\": \"status\"}\\n')\n print(s.recv(100))\nexcept OSError:\n print(b'')\n"
    )
    path = running.home / "run" / "control.sock"
    places = (running.home, running.home / "run", path)
    modes = [place.stat().st_mode for place in places]
    try:
        for place in places:
            place.chmod(0o777)
        asked = [
            subprocess.run([PYTHON, "-c", code, path], user=user, cwd="/", check=True, capture_output=True).stdout
            for user in (os.geteuid(), SOMEBODY)
        ]
    finally:
        for place, mode in zip(places, modes, strict=True):
            place.chmod(mode)
    assert asked[0].startswith(b'b\'{"ok":true')
    assert asked[1] == b"b''\n"
