"""`user` and `group`: what root starts becomes somebody else. Needs root, and a Python that everybody may run."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from lifecycle_house import CONFIG, House
from lifecycle_users import as_somebody, by_system_python, why_nobody_else

USER, GROUP, EXTRA = (f"wlsup{os.getpid()}{what}" for what in "ugx")  # two test runs on one machine are two users
APP = '[apps.echo]\ncommand = ["sleep", "1000"]\n'


@pytest.fixture(scope="module", autouse=True)
def _account() -> Iterator[None]:
    """A system user with a group of its own and a supplementary one, for as long as these tests run."""
    reason = why_nobody_else()
    if reason:
        pytest.skip(reason)
    for command in (
        ["groupadd", "--system", GROUP],
        ["groupadd", "--system", EXTRA],
        ["useradd", "--system", "--no-create-home", "-g", GROUP, "-G", EXTRA, USER],
    ):
        if subprocess.run(command, capture_output=True, check=False).returncode not in (0, 9):
            pytest.skip(f"{command[0]} does not work here")
    yield
    subprocess.run(["userdel", USER], capture_output=True, check=False)
    for name in (GROUP, EXTRA):
        subprocess.run(["groupdel", name], capture_output=True, check=False)


def as_root(house: House, *arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    return by_system_python(house, *arguments, HOME="/root", **environ)


def ok(house: House, *arguments: object) -> str:
    done = as_root(house, *arguments)
    assert done.returncode == 0, f"{arguments}\n{done.stderr}{house.log()}"
    return done.stdout


def owners(house: House) -> set[int]:
    return {status.st_uid for _, status in house.entries()}


def test_everything_becomes_the_user_and_root_goes_on_commanding(fresh_house: House) -> None:
    house = fresh_house
    house.configure(CONFIG + f'[supervisor]\nuser = "{USER}"\n{APP}')
    assert "2/2 workers ready" in ok(house, "start", "--instances", 2)
    uid, extra = pwd.getpwnam(USER).pw_uid, grp.getgrnam(EXTRA).gr_gid
    processes = house.left_over()
    assert len(processes) >= 8  # supervisor, collector, server, agent, two templates, two workers
    assert {user for process in processes for user in process.uids()} == {uid}
    status = Path(f"/proc/{house.supervisor_pid}/status").read_text()
    groups = {int(gid) for gid in status.partition("Groups:")[2].splitlines()[0].split()}
    assert groups == {pwd.getpwnam(USER).pw_gid, extra}
    app = psutil.Process(house.status()["apps"][0]["processes"][0]["pid"])
    assert app.uids().real == uid
    assert app.environ().items() >= {"USER": USER, "LOGNAME": USER, "HOME": pwd.getpwnam(USER).pw_dir}.items()
    assert owners(house) == {uid}
    assert json.loads(ok(house, "enqueue", "add", "a=1", "b=2", "--wait"))["sum"] == 3
    ok(house, "reload")
    ok(house, "scale", 1, "--wait")
    ok(house, "flush")
    assert "reload" in ok(house, "why", "default/1")
    assert owners(house) == {uid}
    ok(house, "restart")
    assert owners(house) == {uid}
    ok(house, "stop")


def test_a_home_that_root_has_used_is_handed_over_with_its_server(house: House) -> None:
    job = None
    house.start(1)
    job = house.enqueue("add", a=2)
    house.until_status(job, "succeeded")
    house.ok("stop")
    house.configure(CONFIG + f'[supervisor]\nuser = "{USER}"\ngroup = "{EXTRA}"\n')
    ok(house, "start", "--instances", 1)
    assert owners(house) == {pwd.getpwnam(USER).pw_uid}
    assert house.home.stat().st_gid == grp.getgrnam(EXTRA).gr_gid
    assert house.job(job)["status"] == "succeeded"
    ok(house, "stop")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ('user = "nobody-like-this"', "this machine has no such user"),
        (f'user = "{USER}"\ngroup = "no-such-group"', "this machine has no such group"),
        (f'group = "{GROUP}"', "has no meaning without `user`"),
    ],
    ids=["no user", "no group", "a group without a user"],
)
def test_a_user_that_cannot_be_is_refused_in_one_line(fresh_house: House, keys: str, words: str) -> None:
    fresh_house.configure(CONFIG + f"[supervisor]\n{keys}\n")
    done = as_root(fresh_house, "start")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert words in done.stderr
    assert not (fresh_house.home / "run").exists()


def test_code_that_the_user_may_not_read_is_named(fresh_house: House) -> None:
    closed = fresh_house.folder / "closed"
    closed.mkdir(mode=0o700)
    keys = f'[supervisor]\nuser = "{USER}"\n'
    fresh_house.configure(CONFIG.replace("[jobs]", '[jobs]\npath = [".", "closed"]') + keys)
    done = as_root(fresh_house, "start")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert f"user = '{USER}' may not read {closed}" in done.stderr


def test_somebody_who_is_not_root_is_refused(fresh_house: House) -> None:
    fresh_house.folder.chmod(0o777)
    fresh_house.configure(CONFIG + f'[supervisor]\nuser = "{USER}"\n')
    done = as_somebody(fresh_house, "start")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert f"only root can become {USER}" in done.stderr


def test_a_home_of_a_third_user_is_left_alone(fresh_house: House) -> None:
    fresh_house.home.mkdir(mode=0o700)
    os.chown(fresh_house.home, 65534, 65534)
    fresh_house.configure(CONFIG + f'[supervisor]\nuser = "{USER}"\n')
    done = as_root(fresh_house, "start")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert f"chown -R {USER}" in done.stderr


def test_a_home_that_is_a_link_or_open_to_others_is_not_handed_over(fresh_house: House) -> None:
    elsewhere = fresh_house.folder / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    fresh_house.home.symlink_to(elsewhere)
    fresh_house.configure(CONFIG + f'[supervisor]\nuser = "{USER}"\n')
    done = as_root(fresh_house, "start")
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert "give the folder itself as --home" in done.stderr
    fresh_house.home.unlink()
    fresh_house.home.mkdir()
    fresh_house.home.chmod(0o777)
    done = as_root(fresh_house, "start")
    assert (done.returncode, "others may write to it" in done.stderr) == (78, True), done.stderr
    assert elsewhere.stat().st_uid == fresh_house.home.stat().st_uid == 0
