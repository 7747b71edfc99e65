"""The wrappers' files: those of the repository are what the templates give, and their programs accept them."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from workerctl.cli.doctor_facts import Wrapper
from workerctl.cli.doctor_services import judge_wrapper
from workerctl.cli.doctor_wrappers import read_app, read_unit
from workerctl.cli.startup_place import Place, docker_text, hidden_by_private_tmp, pm2_text, systemd_takes, systemd_text

ROOT = Path(__file__).resolve().parents[2]
WORKERCTL = Path(sys.executable).with_name("workerctl")
FOLDER = Path("/opt/workerctl")
REPOSITORY = Place(
    program=FOLDER / ".venv" / "bin" / "workerctl",
    folder=FOLDER,
    config=None,
    home=Path("/var/lib/workerctl"),
    user="workerctl",
    group="workerctl",
    stop_timeouts=(30.0,),
    boot_timeout_seconds=60.0,
)


def evaluated(text, folder):
    if shutil.which("node") is None:
        pytest.skip("no node here")
    (folder / "ecosystem.config.js").write_text(text)
    code = "console.log(JSON.stringify(require(process.argv[1])))"
    command = ["node", "-e", code, folder / "ecosystem.config.js"]
    [app] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout)["apps"]
    return app


def test_the_unit_of_the_repository_is_what_the_template_gives():
    text = (ROOT / "systemd" / "workerctl.service").read_text()
    assert text[text.index("[Unit]") :] == systemd_text(REPOSITORY)


def test_the_pm2_file_of_the_repository_is_what_the_template_gives():
    assert (ROOT / "ecosystem.config.js").read_text() == pm2_text(replace(REPOSITORY, home=None))


@pytest.mark.parametrize("stop_seconds", [0.5, 30.0, 600.0])
def test_the_written_deadlines_are_fine_for_our_own_doctor(tmp_path, stop_seconds):
    place = replace(REPOSITORY, stop_timeouts=(5.0, stop_seconds))
    wrappers = [read_unit("x", systemd_text(place)), read_app("x", evaluated(pm2_text(place), tmp_path))]
    assert all(isinstance(wrapper, Wrapper) for wrapper in wrappers)
    found = [finding.level for each in wrappers for finding in judge_wrapper(each, place.stop_timeouts)]
    assert found == ["ok", "ok"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("name", ["app", "my app", "百分 100%", "of $HOME"])
def test_systemd_finds_nothing_to_say_about_a_unit_with_such_a_folder(tmp_path, name):
    folder = tmp_path / name
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "workerctl"
    shutil.copy("/bin/true", program)
    place = replace(REPOSITORY, program=program, folder=folder, config=folder / "x.toml", home=folder / "home",
                    user="root", group="root")  # fmt: skip
    unit = tmp_path / "workerctl.service"
    unit.write_text(systemd_text(place))
    said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
@pytest.mark.parametrize("name", ["it's", 'a"b', "a\\b"])
def test_a_program_that_systemd_would_refuse_is_known(tmp_path, name):
    program = tmp_path / name
    shutil.copy("/bin/true", program)
    unit = tmp_path / "workerctl.service"
    unit.write_text(systemd_text(replace(REPOSITORY, program=program, user="root", group="root")))
    said = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert said.returncode != 0
    assert not systemd_takes(program)


def test_a_home_elsewhere_is_opened_for_writing_and_one_below_var_lib_is_made():
    assert "StateDirectory=workerctl\n" in systemd_text(REPOSITORY)
    text = systemd_text(replace(REPOSITORY, home=None))
    assert "ReadWritePaths=/opt/workerctl/.workerctl\n" in text
    assert "StateDirectory=" not in text
    assert "ExecStart=/opt/workerctl/.venv/bin/workerctl start --foreground\n" in text


@pytest.mark.parametrize("name", ["app", "it's 中文", 'with "quotes"'])
def test_pm2_gets_the_paths_whatever_their_names(tmp_path, name):
    place = replace(REPOSITORY, program=Path("/venv") / name / "workerctl", config=Path("/etc") / name)
    app = evaluated(pm2_text(place), tmp_path)
    assert app["script"] == f"/venv/{name}/workerctl"
    home = ["--home", "/var/lib/workerctl"]
    assert app["args"] == ["--config", f"/etc/{name}", *home, "start", "--foreground"]


def test_the_dockerfile_names_the_deadline_and_the_config():
    place = replace(REPOSITORY, config=FOLDER / "config" / "production.toml")
    text = docker_text(place, "0.1.0", None)
    assert "--stop-timeout 60" in text
    assert "WORKERCTL_CONFIG=/srv/app/config/production.toml" in text
    assert "pip install --no-cache-dir 'workerctl[embedded,content]==0.1.0'\n" in text
    assert text.rstrip().endswith('CMD ["start", "--foreground"]')
    assert re.search(r"[$]{?[a-z]", text) is None


def test_paths_that_private_tmp_would_hide_are_known():
    assert hidden_by_private_tmp(REPOSITORY) == []
    assert hidden_by_private_tmp(replace(REPOSITORY, folder=Path("/tmp/x"))) == [Path("/tmp/x")]


@pytest.fixture
def startup(call, tmp_path):
    (tmp_path / "workerctl.toml").write_text('[supervisor]\nstop_timeout = "45s"\n')
    return lambda *arguments: call("startup", *arguments)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("systemd", "TimeoutStopSec=75"),
        ("systemd", f"ExecStart={WORKERCTL} start --foreground"),
        ("pm2", "kill_timeout: 75000,"),
        ("docker", "--stop-timeout 75"),
    ],
)
def test_print_shows_this_installation_and_writes_nothing(startup, tmp_path, kind, line):
    done = startup(kind, "--print")
    assert done.returncode == 0, done.stderr
    assert line in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["workerctl.toml"]


def test_a_file_that_differs_is_left_alone_without_force(startup, tmp_path):
    assert startup("pm2").returncode == 0
    path = tmp_path / "ecosystem.config.js"
    assert "up to date" in startup("pm2").stderr
    path.write_text("// mine\n")
    done = startup("pm2")
    assert (done.returncode, "--force" in done.stderr, path.read_text()) == (1, True, "// mine\n")
    assert startup("pm2", "--force").returncode == 0
    assert path.read_text() != "// mine\n"


def test_the_unit_is_written_where_it_is_asked_for_with_the_next_steps(startup, tmp_path):
    done = startup("systemd", "--to", str(tmp_path / "x.service"))
    assert done.returncode == 0, done.stderr
    assert "systemctl enable --now x" in done.stderr
    assert f"ExecStart={WORKERCTL}" in (tmp_path / "x.service").read_text()


def test_a_user_that_does_not_exist_is_refused(startup):
    done = startup("systemd", "--print", "--user", "nobody-of-this-name")
    assert (done.returncode, "useradd" in done.stderr) == (1, True)


def test_the_unit_runs_as_the_configured_user(startup, tmp_path):
    (tmp_path / "workerctl.toml").write_text('[supervisor]\nuser = "nobody"\ngroup = "daemon"\n')
    text = startup("systemd", "--print").stdout
    assert "User=nobody\nGroup=daemon\n" in text


def test_the_longest_deadline_counts_be_it_a_pools_or_an_apps(startup, tmp_path):
    app = '[apps.web]\ncommand = "sleep 1000"\nstop_timeout = "100s"\nboot_timeout = "5m"\n'
    (tmp_path / "workerctl.toml").write_text(app)
    text = startup("systemd", "--print").stdout
    assert "TimeoutStopSec=130\n" in text
    assert "TimeoutStartSec=360\n" in text
