"""The command for real: on an empty folder, on a real database, and where something is wrong."""

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from workerctl.broker.fleet import KnownKind, Registration, register_worker
from workerctl.cli.doctor_facts import Unserved
from workerctl.cli.doctor_probes import ask_database
from workerctl.cli.doctor_services import judge_database
from workerctl.producer import enqueue
from workerctl.settings import load

WORKERCTL = Path(sys.executable).with_name("workerctl")


@pytest.fixture
def doctor(call, tmp_path):
    """Runs it in a project of the test's own: `doctor(config, NAME=value)` -> exit code and findings by subject."""

    def run(config="", **environ):
        (tmp_path / "workerctl.toml").write_text(config)
        done = call("doctor", "--json", **environ)
        assert done.returncode in (0, 1), done.stderr
        document = json.loads(done.stdout)
        bad = [finding for finding in document["findings"] if finding["level"] != "ok"]
        assert document["errors"] + document["warnings"] == len(bad)
        assert (done.returncode == 1) == (document["errors"] > 0)
        assert all("\n" not in finding["text"] for finding in document["findings"])
        return done.returncode, {finding["subject"]: finding for finding in [*document["findings"], *bad]}

    return run


def test_a_folder_in_which_nothing_was_started_is_fine_and_stays_empty(doctor, tmp_path):
    code, found = doctor()
    assert code == 0, found
    assert found["database"]["text"].startswith("embedded, not running")
    assert [path.name for path in tmp_path.iterdir()] == ["workerctl.toml"]


def test_people_get_one_line_a_finding(tmp_path):
    done = subprocess.run([WORKERCTL, "doctor"], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=60)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert all(line.split()[0] in ("ok", "warning", "error") for line in lines[:-1])
    assert lines[-1].startswith("0 errors, ")


def test_a_configuration_that_cannot_work_is_an_error_with_the_key(doctor):
    code, found = doctor("[supervisor]\ninstancs = 2\n")
    assert code == 1
    assert "did you mean supervisor.instances" in found["config"]["text"]


def test_a_job_module_that_cannot_be_imported_is_an_error(doctor, tmp_path):
    config = '[jobs]\nmodules = ["kinds"]\nshipped = false\n'
    (tmp_path / "kinds.py").write_text("print('hello')\nraise KeyError('COLUMN')\n")
    code, findings = doctor(config)
    assert code == 1
    assert (findings["modules"]["level"], findings["modules"]["text"][:23]) == ("error", "importing kinds failed:")
    (tmp_path / "kinds.py").write_text("print('hello')\n")
    assert doctor(config)[1]["modules"]["text"] == "kinds can be imported"


def test_a_database_that_does_not_answer_is_an_error_without_its_password(doctor):
    code, found = doctor(DATABASE_URL="postgresql://u:geheim@127.0.0.1:1/app")
    assert code == 1
    assert "127.0.0.1:1" in found["database"]["text"]
    assert "geheim" not in json.dumps(found)


def test_a_real_database_is_asked_everything(doctor, database_url):
    code, found = doctor(DATABASE_URL=database_url)
    assert code == 0, found
    assert "direct" in found["database"]["text"]
    assert "is heard after" in found["wake-up"]["text"]
    assert (found["schema"]["level"], "0001" in found["schema"]["text"]) == ("warning", True)
    assert found["clock"]["level"] == "ok"


def test_doctor_leaves_no_schema_in_the_database(doctor, database_url):
    doctor(DATABASE_URL=database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT to_regnamespace('workerctl')").fetchone() == (None,)


def test_the_session_that_holds_an_old_snapshot_is_found(doctor, database_url):
    found = load(None, None, {"DATABASE_URL": database_url}, Path("/"))
    with psycopg.connect(database_url, application_name="报表 report") as holder:
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        holder.execute("SELECT 1")
        deadline = time.monotonic() + 10
        while (oldest := ask_database(found).oldest) is None:
            assert time.monotonic() < deadline, "nobody holds a snapshot"
        assert oldest.pid == holder.info.backend_pid
        assert oldest.state == "idle in transaction"


def test_jobs_that_no_living_worker_takes_are_found_by_kind_and_queue(queue, database_url):
    found = load(None, None, {"DATABASE_URL": database_url}, Path("/"))
    for kind, lane in (("known", "default"), ("known", "elsewhere"), ("gone", "default"), ("gone", "default")):
        enqueue(kind, queue=lane, conn=queue)
    [alone] = [finding for finding in judge_database(ask_database(found)) if finding.level == "warning"]
    assert alone.text == "no worker runs, pending jobs: 4"
    assert "workerctl start" in alone.advice
    me = Registration("n.1", "n", "host", "default", 1, 1, ["default"], [], 30.0)
    register_worker(queue, me, [KnownKind("known", "default", 3, 1)])
    state = ask_database(found)
    assert state.unserved == (Unserved("gone", "default", False, 2), Unserved("known", "elsewhere", True, 1))
    told = [finding.text for finding in judge_database(state) if finding.level == "warning"]
    assert told == [
        "2 of kind gone in queue default wait: no worker knows that kind",
        "1 of kind known in queue elsewhere wait: no worker serves that queue",
    ]
    queue.execute("UPDATE workerctl.worker SET lease_until = now() - interval '1 s'")
    assert {lane.known for lane in ask_database(found).unserved} == {None}, "its machine is gone"


def test_a_database_that_takes_nothing_in_is_an_error(doctor, database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        state = ask_database(load(None, None, {"DATABASE_URL": database_url}, Path("/")))
    [finding] = [each for each in judge_database(state) if each.level == "error"]
    assert finding.text.startswith("it takes nothing in: cannot execute CREATE TABLE AS in a read-only transaction")
    assert "primary server" in finding.advice


def test_how_a_role_rounds_numbers_puts_no_clock_wrong(doctor, database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET extra_float_digits = -15")
    for url in (database_url, f"{database_url}&pgbouncer=true"):
        assert abs(ask_database(load(None, None, {"DATABASE_URL": url}, Path("/"))).skew_seconds) < 60


def test_a_role_that_may_make_no_schema_is_not_sent_to_migrate(database_url, embedded_server):
    with embedded_server.connect(superuser=True) as root:
        root.execute(f"ALTER DATABASE {urlsplit(database_url).path[1:]} OWNER TO postgres")
    state = ask_database(load(None, None, {"DATABASE_URL": database_url}, Path("/")))
    [finding] = [each for each in judge_database(state) if each.level == "error"]
    assert (finding.subject, finding.text) == ("schema", "the role workerctl may not make it")
    assert "CREATE SCHEMA workerctl AUTHORIZATION" in finding.advice


def test_more_workers_than_the_connection_limit_are_an_error(doctor, database_url):
    code, found = doctor("connection_limit = 5\n[supervisor]\ninstances = 4\n", DATABASE_URL=database_url)
    assert (code, found["connections"]["level"]) == (1, "error")


def test_a_home_that_others_may_read_is_an_error(doctor, tmp_path):
    home = tmp_path / ".workerctl"
    home.mkdir()
    home.chmod(0o755)
    code, found = doctor()
    assert (code, found["home"]["advice"]) == (1, f"chmod 700 {home}")


def test_objects_are_probed_and_leave_nothing_behind(doctor, tmp_path):
    code, found = doctor(f'[storage]\nurl = "file://{tmp_path}/objects"\n')
    assert (code, found["storage"]["level"]) == (0, "ok")
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


def test_a_storage_that_cannot_be_written_is_an_error(doctor, tmp_path):
    (tmp_path / "objects").write_text("a file where the folder should be")
    code, found = doctor(f'[storage]\nurl = "file://{tmp_path}/objects"\n')
    assert (code, found["storage"]["level"]) == (1, "error")


def test_an_app_whose_program_is_not_there_is_an_error(doctor, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "run").write_text("#!/bin/sh\n")
    app = '[apps.web]\ncommand = "bin/run --port 1"\n'
    code, found = doctor(app)
    assert (code, found["apps"]["text"]) == (1, "web: there is no program bin/run")
    (tmp_path / "bin" / "run").chmod(0o755)
    assert doctor(app)[0] == 0
    assert doctor('[apps.web]\ncommand = "python --version"\n')[0] == 0
    assert doctor('[apps.web]\ncommand = "python --version"\nenv = {PATH = "/nowhere"}\n')[0] == 1


def test_cores_that_are_not_there_are_a_warning(doctor):
    _, found = doctor("[supervisor]\naffinity = [0, 9999]\n")
    assert found["cores"]["text"].endswith("not ours to use: 9999")


def test_a_pm2_file_that_kills_too_early_is_an_error(doctor, tmp_path):
    app = {"name": "workerctl", "script": str(WORKERCTL), "kill_timeout": 5000, "treekill": False, "wait_ready": True}
    (tmp_path / "ecosystem.json").write_text(json.dumps({"apps": [app]}))
    code, found = doctor()
    assert code == 1
    assert found["pm2"]["advice"] == "set kill_timeout to 60000 or more"
    assert doctor('[supervisor]\nstop_timeout = "2s"\n')[0] == 0
