"""Apps: readiness of their own, memory limits, and what is left of them when the supervisor is killed."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import msgspec
import pytest
from toy_house import House, is_alive, until
from toy_world import HOUSE, POLICY, World, busy

from workerctl.supervisor import events as ev
from workerctl.supervisor.composition import Ready
from workerctl.supervisor.plan import plan

NOTIFYING = """
import os, socket, sys, time
address = os.environ["NOTIFY_SOCKET"]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
    for message in sys.argv[1:]:
        end.sendto(message.encode(), "\\0" + address[1:])
        time.sleep(0.3)
time.sleep(1000)
"""
LISTENING = """
import socket, sys, time
time.sleep(0.3)
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(1000)
"""
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(1000)"
)


def app(house: House) -> dict[str, object]:
    found: dict[str, object] = house.status()["apps"][0]["processes"][0]
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_an_app_is_ready_when_it_says_so(house: House) -> None:
    command = (sys.executable, "-c", NOTIFYING, "STATUS=warming", "STATUS=nearly\nREADY=1")
    web = house.command("web", *command, ready=Ready("notify"))
    house.start(*house.workers(1), web, house.command("after", "sleep", "1000", after=("web",)))
    until(lambda: app(house)["pid"])
    assert app(house)["phase"] == "starting"
    assert house.status()["apps"][1]["processes"][0]["pid"] is None
    house.until_state("running")
    assert [each["ready"] for each in house.status()["apps"]] == [1, 1]
    assert house.stop() == 0


def test_an_app_is_ready_when_its_port_answers(house: House) -> None:
    port = free_port()
    web = house.command("web", sys.executable, "-c", LISTENING, str(port), ready=Ready("port", port=port))
    house.start(*house.workers(1), web)
    house.until_state("running")
    with socket.create_connection(("127.0.0.1", port), 1):
        assert app(house)["phase"] == "ready"
    assert house.stop() == 0


def test_an_app_that_never_says_so_is_killed_and_parked(house: House) -> None:
    web = house.command("web", "sleep", "1000", ready=Ready("notify"), boot_timeout_seconds=0.2)
    house.start(*house.workers(1), web, policy={"backoff_seconds": 0.01})
    until(lambda: app(house)["phase"] == "parked")
    assert {line["cause"] for line in house.exits()} == {"boot-timeout"}
    assert house.stop() == 0


def test_an_app_has_neither_our_channel_nor_our_lock(house: House) -> None:
    house.start(*house.workers(1), house.command("web", "sleep", "1000"))
    house.until_state("running")
    pid = app(house)["pid"]
    held = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]
    assert not [path for path in held if path.name == "alive"]
    assert b"WORKERCTL_CHANNEL" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert house.stop() == 0


def test_an_app_is_asked_to_leave_when_the_supervisor_is_killed(house: House) -> None:
    house.start(*house.workers(1), house.command("web", "sleep", "1000"))
    house.until_state("running")
    pid = app(house)["pid"]
    house.signal(signal.SIGKILL)
    until(lambda: not is_alive(int(str(pid))), 2)


def test_an_app_that_outlived_the_supervisor_is_gone_before_the_next_one_starts(house: House) -> None:
    groups = (*house.workers(1), house.command("web", sys.executable, "-c", STUBBORN, stop_timeout_seconds=0.5))
    house.start(*groups)
    house.until_state("running")
    until(lambda: "up" in house.log())
    old = int(str(app(house)["pid"]))
    house.signal(signal.SIGKILL)
    house.until_ended()
    assert is_alive(old)
    short = {"stop_timeout_seconds": 0.5}
    house.start(house.group("template", "template", **short), house.group("default", "pool", **short), groups[-1])
    house.until_state("running", seconds=20)
    assert not is_alive(old)
    assert app(house)["pid"] != old
    assert house.stop() == 0


@pytest.mark.parametrize("record", ['[{"pid": 1, "started": "x", "stop_signal": "SIGTERM"}]', "nonsense", "[3]", ""])
def test_a_record_of_somebody_else_harms_nobody(house: House, record: str) -> None:
    (house.home / "run").mkdir(parents=True)
    (house.home / "run" / "apps.json").write_text(record)
    house.start(*house.workers(1))
    house.until_ready(1)
    assert house.stop() == 0


def aging(**fields: object) -> World:
    groups = tuple(msgspec.structs.replace(g, **fields) if g.name == "default" else g for g in HOUSE)
    return World(groups).run(3)


def test_workers_that_began_together_are_replaced_one_after_the_other_when_they_are_old() -> None:
    world = aging(lifetime_seconds=100.0)
    world.run(80)
    assert len(world.spawns()) == 4
    world.run(35)
    assert len(world.spawns()) == 8
    ages = world.spawns()[4:]
    assert max(ages) - min(ages) > 3
    assert {str(slot.last_exit.cause) for slot in world.roster.teams["default"].slots if slot.last_exit} == {"lifetime"}


def test_a_worker_that_has_done_its_share_is_replaced() -> None:
    world = aging(max_jobs=100)
    member = world.members("default")[0][2]
    work = member.work.__class__(jobs_done=99, jobs_failed=1)
    world.happen(ev.Heartbeat(world.now, "default", 1, member.serial, work))
    world.run(1)
    assert [slot.restarts for slot in world.roster.teams["default"].slots] == [1, 0, 0, 0]
    busy(world, 1, 1)
    assert plan(world.roster, POLICY, world.now) == ()
