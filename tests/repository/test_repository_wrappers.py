"""The files for systemd and PM2 are understood by the programs they are for, and agree with our times."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "systemd" / "workerctl.service"
STOP_TIMEOUT_SECONDS = 30  # defaults of stop_timeout and boot_timeout
BOOT_TIMEOUT_SECONDS = 60


def settings_of_the_unit():
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), flags=re.MULTILINE))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_finds_nothing_to_say_about_the_unit(tmp_path):
    # the paths and the user are those of an installation; what is verified must exist here
    text = re.sub(r"/opt/workerctl/\.venv/bin/workerctl", sys.executable, UNIT.read_text())
    text = re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE)
    (tmp_path / UNIT.name).write_text(text)
    said = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / UNIT.name], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_systemd_leaves_the_supervisor_time_and_respects_its_exit_codes():
    unit = settings_of_the_unit()
    assert int(unit["TimeoutStopSec"]) > STOP_TIMEOUT_SECONDS
    assert int(unit["TimeoutStartSec"]) > BOOT_TIMEOUT_SECONDS
    assert set(unit["RestartPreventExitStatus"].split()) == {"78", "3"}


@pytest.fixture(scope="module")
def app():
    if shutil.which("node") is None:
        pytest.skip("no node here")
    code = "console.log(JSON.stringify(require(process.argv[1])))"
    read = subprocess.run(
        ["node", "-e", code, ROOT / "ecosystem.config.js"], capture_output=True, text=True, check=True, cwd="/"
    )
    [only] = json.loads(read.stdout)["apps"]
    return only


def test_pm2_starts_the_program_of_this_checkout_wherever_it_is_called(app):
    assert Path(app["script"]) == ROOT / ".venv" / "bin" / "workerctl"
    assert app["args"] == "start --foreground"
    assert (app["interpreter"], app["exec_mode"], app["instances"]) == ("none", "fork", 1)


def test_pm2_waits_for_ready_and_leaves_the_supervisor_time(app):
    assert app["wait_ready"] is True
    assert app["treekill"] is False
    assert app["listen_timeout"] > BOOT_TIMEOUT_SECONDS * 1000
    assert app["kill_timeout"] > STOP_TIMEOUT_SECONDS * 1000
    assert set(app["stop_exit_codes"]) == {78, 3}
