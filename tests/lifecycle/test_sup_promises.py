"""What a pool's settings do to its workers, and what nobody gets to see."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable

import psutil
from lifecycle_house import CONFIG, House, until

CORE = max(os.sched_getaffinity(0))
QUEUES = ("default", "content")
POOLS = f"""{CONFIG}
[supervisor]
affinity = [{CORE}]
nice = 3
env = {{ FRUIT = "plum" }}
[pools.content]
queues = ["content"]
instances = 1
nice = 7
env = {{ FRUIT = "quince", MALLOC_ARENA_MAX = "4" }}
"""


def test_a_pools_workers_have_its_niceness_cores_and_environment_and_few_arenas(build: Callable[..., House]) -> None:
    house = build(POOLS)
    house.start(1)
    found = {queue: json.loads(house.ok("enqueue", "surroundings", "--queue", queue, "--wait")) for queue in QUEUES}
    assert found == {
        "default": {"nice": 3, "cores": [CORE], "fruit": "plum", "arenas": "2"},
        "content": {"nice": 7, "cores": [CORE], "fruit": "quince", "arenas": "4"},
    }


def test_nothing_listens_on_tcp_and_no_output_shows_the_environment(house: House) -> None:
    house.environ["SOME_PASSWORD"] = "medlar-in-the-environment"
    house.start(1)
    listening = []
    for process in house.left_over():
        with contextlib.suppress(psutil.Error):
            listening += [each for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
    assert listening == []
    url = (house.home / "run" / "database.json").read_text()
    password = url.partition("workerctl:")[2].partition("@")[0]
    for command in ("status", "show", "why", "config show", "logs supervisor", "doctor"):
        words = [*command.split(), "default"] if command in ("show", "why") else command.split()
        for more in ((), ("--json",)) if command != "config show" else ((),):
            done = house.run(*words, *more)
            said = done.stdout + done.stderr
            assert said, command
            assert "medlar" not in said, command
            assert not password or password not in said, command


def test_where_it_was_asked_for_everybody_parked_ends_it_all(build: Callable[..., House]) -> None:
    house = build(f"{CONFIG}[supervisor]\nexit_when_all_parked = true\n")
    house.start(1)
    foreground = psutil.Process(house.supervisor_pid)

    def killed() -> bool:
        with contextlib.suppress(Exception):
            for worker in house.ready():
                os.kill(worker["pid"], signal.SIGKILL)
        return not foreground.is_running() or foreground.status() == psutil.STATUS_ZOMBIE

    until(killed)
    assert 'exit_code=1 message="every worker crashed' in house.log()
    house.assert_nothing_runs()
