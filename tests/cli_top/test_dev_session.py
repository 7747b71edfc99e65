"""`dev` for real, in a terminal: fresh code runs without a command, bad code costs nothing, Ctrl-C stops everything."""

import time

import pytest

from workerctl.contract import NotRunning
from workerctl.supervisor.client import request
from workerctl.supervisor.lock import is_held


def write(project, text):
    (project / "greetings.py").write_text(text)


def pids(project):
    [pool] = request(project / ".workerctl", "status")["status"]["pools"]
    return {worker["pid"] for worker in pool["workers"]}


def until_workers(project, count):
    deadline = time.monotonic() + 30
    while len(pids(project)) != count or None in pids(project):
        assert time.monotonic() < deadline, f"{pids(project)} are not {count} workers"
        time.sleep(0.05)


def result_of(project, command):
    return command(project, "enqueue", "greet", "name=世界", "--wait").stdout.strip()


def test_a_session_of_changes_good_and_bad_until_ctrl_c(project, terminal, command):
    screen = terminal(project, "dev", 220, 50)
    screen.until("2 workers ready; watching", history=True)
    assert result_of(project, command) == '"hello"'
    screen.until("hello 世界", history=True)

    good = (project / "greetings.py").read_text().replace('"hello"', '"你好"')
    write(project, good)
    screen.until("changed: greetings.py", history=True)
    screen.until("renewed in", history=True)
    assert result_of(project, command) == '"你好"'
    screen.until("你好 世界", history=True)

    before = pids(project)
    write(project, good + "\nimport no_such_module\n")
    screen.until("No module named 'no_such_module'", history=True)
    screen.until("the workers that run stay, waiting for a change", history=True)
    assert pids(project) == before
    assert result_of(project, command) == '"你好"'

    screen.type("C-c")
    screen.until_closed()
    assert not is_held(project / ".workerctl" / "run")


def test_code_that_cannot_start_is_told_and_waits_for_the_next_change(project, terminal, command):
    good = (project / "greetings.py").read_text()
    write(project, "raise RuntimeError('坏的')\n")
    screen = terminal(project, "dev", 220, 50)
    screen.until("waiting for a change", history=True)
    write(project, good)
    screen.until("2 workers ready; watching", history=True)
    assert result_of(project, command) == '"hello"'
    screen.type("C-c")
    screen.until_closed()


@pytest.mark.long
def test_a_changed_configuration_is_followed_and_a_wrong_one_waits(project, terminal):
    config = project / "workerctl.toml"
    text = config.read_text()
    screen = terminal(project, "dev", 220, 50)
    screen.until("2 workers ready; watching", history=True)
    config.write_text(text.replace("instances = 2", "instances = 1"))
    screen.until("renewed in", history=True)
    until_workers(project, 1)
    config.write_text(text.replace("instances", "instancs"))
    screen.until("did you mean supervisor.instances", history=True)
    config.write_text(text.replace("instances = 2", "instances = 3"))
    until_workers(project, 3)
    screen.type("C-c")
    screen.until_closed()


@pytest.mark.long
def test_a_new_pool_comes_by_itself_and_what_needs_a_stop_and_a_start_gets_them(project, terminal):
    config = project / "workerctl.toml"
    screen = terminal(project, "dev", 220, 50)
    screen.until("2 workers ready; watching", history=True)
    config.write_text(config.read_text() + '[pools.images]\nqueues = ["images"]\ninstances = 1\n')
    screen.until("renewed in", history=True)
    config.write_text("connection_limit = 30\n" + config.read_text())
    screen.until("connection_limit: that needs a stop and a start", history=True)
    screen.until("3 workers ready; watching", history=True)
    screen.type("C-c")
    screen.until_closed()


def test_a_second_one_is_refused(project, terminal, command):
    screen = terminal(project, "dev", 220, 50)
    screen.until("2 workers ready; watching", history=True)
    done = command(project, "dev", check=False)
    assert (done.returncode, "already running" in done.stderr) == (3, True)
    screen.type("C-c")
    screen.until_closed()
    try:
        request(project / ".workerctl", "status")
    except NotRunning:
        return
    raise AssertionError("it still runs")
