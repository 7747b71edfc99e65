"""Units of systemd and PM2 files are found where they run this installation, and read as their programs read them."""

import json
import math
from pathlib import Path

import pytest

from workerctl.cli.doctor_facts import Finding
from workerctl.cli.doctor_services import judge_container
from workerctl.cli.doctor_wrappers import container, pm2_apps, read_app, read_unit, span_seconds, systemd_units

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path("/srv/app/.venv/bin/workerctl")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60), ("90s", 90), ("1min 30s", 90), ("1min30s", 90), ("500ms", 0.5), ("2h", 7200), ("infinity", math.inf),
     ("0", math.inf), ("1.5min", 90)],
)  # fmt: skip
def test_time_spans_are_read_as_systemd_reads_them(text, seconds):
    assert span_seconds(text) == seconds


def test_a_unit_without_a_deadline_has_the_default_of_systemd():
    unit = read_unit("x", "[Service]\nType=simple\nExecStart=/srv/app/.venv/bin/workerctl start --foreground\n")
    assert (unit.stop_seconds, unit.kills_tree, unit.notified) == (90.0, True, False)


def test_the_unit_of_the_repository_is_read_as_it_is_meant():
    unit = read_unit("x", (ROOT / "systemd" / "workerctl.service").read_text())
    assert (unit.stop_seconds, unit.kills_tree, unit.notified) == (60.0, False, True)


def test_units_of_this_installation_alone_are_found_with_their_drop_ins(tmp_path):
    lower, upper = tmp_path / "lib", tmp_path / "etc"
    for folder in (lower, upper):
        folder.mkdir()
    ours = "[Service]\nExecStart=/srv/app/.venv/bin/workerctl start --foreground\nTimeoutStopSec=60\n"
    (lower / "ours.service").write_text(ours)
    (lower / "other.service").write_text(ours.replace("/srv/app", "/srv/other"))
    (upper / "ours.service.d").mkdir()
    (upper / "ours.service.d" / "10.conf").write_text("[Service]\nTimeoutStopSec=5\n")

    [found] = systemd_units(PROGRAM, (upper, lower, tmp_path / "missing"))

    assert (found.path, found.stop_seconds) == (str(lower / "ours.service"), 5.0)


def test_an_app_without_keys_has_the_defaults_of_pm2():
    app = read_app("x", {"script": "workerctl"})
    assert (app.stop_seconds, app.kills_tree, app.notified) == (1.6, True, False)


def test_apps_that_run_workerctl_are_found_in_the_project(tmp_path):
    apps = [{"name": "web", "script": "server.js"}, {"name": "w", "script": str(PROGRAM), "kill_timeout": 60000}]
    (tmp_path / "ecosystem.json").write_text(json.dumps({"apps": apps}))
    [found] = pm2_apps(tmp_path, PROGRAM)
    assert (found.path, found.stop_seconds) == ("ecosystem.json: w", 60.0)


def test_a_pm2_file_that_cannot_be_read_is_a_warning(tmp_path):
    (tmp_path / "ecosystem.json").write_text('{"apps": [process.env]}')
    [found] = pm2_apps(tmp_path, PROGRAM)
    assert isinstance(found, Finding)
    assert (found.level, "line 1" in found.text) == ("warning", True)


@pytest.mark.parametrize(
    ("mark", "environ", "found"),
    [
        ("", {}, None),
        (".dockerenv", {}, ("container", 10)),
        ("run/.containerenv", {}, ("container", 10)),
        (".dockerenv", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, ("kubernetes", 30)),
    ],
)
def test_a_container_is_known_by_what_its_engine_puts_there(tmp_path, mark, environ, found):
    (tmp_path / "run").mkdir()
    if mark:
        (tmp_path / mark).touch()
    around = container(environ, tmp_path)
    assert (around and (around.kind, around.stop_seconds)) == found


def test_a_container_that_kills_by_default_before_a_drain_can_end_is_a_warning_with_what_to_set(tmp_path):
    (tmp_path / ".dockerenv").touch()
    docker, kubernetes = container({}, tmp_path), container({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)
    [short] = judge_container(docker, [30.0])
    assert short.level == "warning" and "--stop-timeout 60" in short.advice and "stop_grace_period: 60s" in short.advice
    [equal] = judge_container(kubernetes, [30.0])
    assert equal.level == "warning" and "terminationGracePeriodSeconds: 60" in equal.advice
    assert [finding.level for finding in judge_container(docker, [5.0])] == ["ok"]
