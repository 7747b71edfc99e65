"""`workerctl reload` from the shell: what the user sees of new code, broken code and settings that need a restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from toy_house import until

from workerctl.cli.compose import Plan, compose
from workerctl.cli.releases import as_far_as_possible
from workerctl.settings import PoolSettings, Settings
from workerctl.settings.types import AppSettings

PROGRAM = Path(sys.executable).with_name("workerctl")
JOBS = """
import helper
from workerctl import job

@job("version")
def version(payload: dict, ctx) -> dict:
    return {"version": helper.VERSION}
"""
CONFIG = '[jobs]\nmodules = ["myjobs"]\nshipped = false\n[supervisor]\ninstances = 2\n'


class Project:
    """A folder with job modules and a config, and whatever runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "myjobs.py").write_text(JOBS)
        self.write("VERSION = 1")
        self.config(CONFIG)

    def write(self, source: str) -> None:
        (self.folder / "helper.py").write_text(source + "\n")

    def config(self, text: str) -> None:
        (self.folder / "workerctl.toml").write_text(text)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("WORKERCTL_", "DATABASE"))}
        return subprocess.run(
            [str(PROGRAM), *words], cwd=self.folder, env=clean, capture_output=True, text=True, timeout=90
        )

    def document(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.run("status", "--json").stdout)
        return found

    def workers(self) -> list[dict[str, object]]:
        pools = self.document()["pools"]
        assert isinstance(pools, list)
        return [worker for pool in pools for worker in pool["workers"]]

    def agent(self) -> dict[str, object]:
        roles = self.document()["roles"]
        assert isinstance(roles, list)
        return next(process for role in roles if role["name"] == "agent" for process in role["processes"])

    def version(self) -> int:
        done = self.run("enqueue", "version", "--payload", "{}", "--wait")
        number: int = json.loads(done.stdout)["version"]
        return number


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    started = project.run("start")
    assert started.returncode == 0, started.stderr
    yield project
    project.run("stop", "--now")


def test_a_reload_brings_new_code_and_broken_code_or_settings_change_nothing(project: Project) -> None:
    assert project.version() == 1
    project.write("VERSION = 2")
    done = project.run("reload")
    assert (done.returncode, done.stderr.strip()) == (0, "reloaded default, agent: release 2")
    assert project.version() == 2
    until(lambda: project.agent()["phase"] == "ready" and project.agent()["restarts"] == 1)  # not of the old template
    before = [worker["pid"] for worker in project.workers()]
    assert {str(worker["release"]).partition("@")[0] for worker in project.workers()} == {"2"}

    project.write("VERSION = 1 / 0")
    done = project.run("reload")
    assert done.returncode == 1
    assert "importing myjobs failed: ZeroDivisionError" in done.stderr
    assert "helper.py" in done.stderr and "VERSION = 1 / 0" in done.stderr
    assert [worker["pid"] for worker in project.workers()] == before

    project.config(CONFIG + "nonsense = 1\n")
    done = project.run("reload")
    assert (done.returncode, "unknown key" in done.stderr) == (78, True)

    project.write("VERSION = 3")
    project.config(
        CONFIG.replace("instances = 2", "instances = 3\nmax_memory = '400MB'") + "[pools.x]\nqueues = ['x']\n"
    )
    done = project.run("reload")
    assert done.returncode == 0, done.stderr
    assert "x (new)" in done.stderr
    until(lambda: [pool["ready"] for pool in project.document()["pools"]] == [3, 3])  # type: ignore[index]
    assert project.version() == 3

    project.write("VERSION = 4")
    pid = project.document()["supervisor"]["pid"]  # type: ignore[index]
    os.kill(pid, signal.SIGHUP)
    until(lambda: {str(worker["release"])[0] for worker in project.workers()} == {"5"}, 30)
    assert project.version() == 4


WEB = '[apps.web]\ncommand = "sh web.sh"\nready = {command = "test -e up"}\n'


def test_a_reload_says_whether_an_app_that_it_changed_is_ready(project: Project) -> None:
    def web() -> dict[str, object]:
        apps = project.document()["apps"]
        return dict(apps[0]["processes"][0])  # type: ignore[index]

    script = project.folder / "web.sh"
    script.write_text("rm -f up; sleep 0.4; touch up; exec sleep 1000")
    project.config(CONFIG + WEB)
    done = project.run("reload")
    assert (done.returncode, web()["phase"]) == (0, "ready"), done.stderr
    done = project.run("reload", "web")
    assert (done.returncode, done.stderr.strip(), web()["phase"]) == (0, "reloaded web: release 3", "ready")
    script.write_text("echo no such table; exit 3")
    done = project.run("reload", "web")
    assert done.returncode == 1
    assert "web/1 of the new release" in done.stderr and "workerctl why web" in done.stderr
    until(lambda: web()["phase"] == "parked", 30)
    script.write_text("touch up; exec sleep 1000")
    assert project.run("reload", "web").returncode == 0
    assert web()["phase"] == "ready"


def test_without_a_supervisor_there_is_nothing_to_reload(tmp_path: Path) -> None:
    assert Project(tmp_path).run("reload").returncode == 4


def plan_of(tmp_path: Path, **fields: object) -> Plan:
    settings = Settings(database_url="postgresql://db/x", **fields)  # type: ignore[arg-type]
    return Plan(settings, tmp_path, tmp_path, None, "n" * 36, "box", [0, 1], None, foreground=False)


def test_apps_come_after_what_they_follow(tmp_path: Path) -> None:
    apps = {
        "web": AppSettings(command="serve --port 8000", after=("cache", "default"), ready={"port": 8000}),
        "cache": AppSettings(command=("redis-server",), after=("postgres",)),
    }
    groups = {group.name: group for group in compose(plan_of(tmp_path, apps=apps)).groups}
    assert list(groups)[-2:] == ["cache", "web"]
    assert groups["web"].after == ("collector", "cache", "default")
    assert groups["cache"].after == ("collector",), "there is no embedded PostgreSQL to wait for"
    assert groups["web"].command == ("serve", "--port", "8000")
    assert groups["web"].ready.port == 8000 and not groups["web"].role


def test_pools_with_the_same_environment_share_a_template(tmp_path: Path) -> None:
    pools = {
        "default": PoolSettings(queues=()),
        "a": PoolSettings(queues=("a",), env={"X": "1"}),
        "b": PoolSettings(queues=("b",), env={"X": "1"}, max_memory_bytes=1000),
    }
    composition = compose(plan_of(tmp_path, pools=pools))
    groups = {group.name: group for group in composition.groups}
    assert [group.template for group in composition.groups if group.kind == "pool"] == [
        "template", "template-a", "template-a"
    ]  # fmt: skip
    assert groups["template-a"].env["X"] == "1" and "X" not in groups["template"].env
    assert groups["b"].max_memory_hard_bytes == 1250


def test_pools_that_import_the_same_share_a_template_and_no_others_do(tmp_path: Path) -> None:
    pools = {
        "default": PoolSettings(queues=()),
        "a": PoolSettings(queues=("a",), modules=("shop",), boot_timeout_seconds=90, timeout_seconds=7),
        "b": PoolSettings(queues=("b",), modules=("shop",), boot_timeout_seconds=120, retry_delay_seconds=1),
        "c": PoolSettings(queues=("c",), modules=("shop",), path=("/opt",)),
        "d": PoolSettings(queues=("d",), shipped=False),
    }
    composition = compose(plan_of(tmp_path, pools=pools))
    groups = {group.name: group for group in composition.groups}
    templates = ["template", "template-a", "template-a", "template-c", "template-d"]
    assert [group.template for group in composition.groups if group.kind == "pool"] == templates
    assert [group.name for group in composition.groups if group.kind == "template"] == list(dict.fromkeys(templates))
    assert groups["template-a"].command[-2:] == ("a", "workerctl.agent.__main__")
    assert groups["template-a"].boot_timeout_seconds == 120, "the longest of those whose modules it imports"


def test_what_needs_a_restart_is_named_and_stays(tmp_path: Path) -> None:
    old = Settings(database_url="postgresql://db/x")
    new = msgspec.structs.replace(
        old,
        database_url="postgresql://db/y",
        connection_limit=50,
        supervisor=msgspec.structs.replace(old.supervisor, user="somebody", max_memory_bytes=1),
    )
    kept, names = as_far_as_possible(old, new, embedded=False)
    assert names == ["database_url", "connection_limit", "supervisor.user"]
    assert kept == msgspec.structs.replace(old, supervisor=msgspec.structs.replace(old.supervisor, max_memory_bytes=1))
    embedded = msgspec.structs.replace(old, database_url=None)
    assert as_far_as_possible(old, embedded, embedded=True) == (old, [])
    assert as_far_as_possible(old, embedded, embedded=False) == (old, ["database_url"])
