"""Commands over the control socket, what is persisted, and who is told."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest
from toy_house import House, is_alive, until

from workerctl.contract import NotRunning
from workerctl.supervisor.client import Refused, request
from workerctl.supervisor.composition import load_composition
from workerctl.supervisor.state import load_desired


def test_nobody_answers_where_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="workerctl start"):
        request(tmp_path / "home", "status")


def test_a_scale_is_carried_out_persisted_and_survives_a_restart(house: House) -> None:
    house.start(*house.workers(2))
    house.until_ready(2)
    assert house.ask("scale", pool="default", to=4) == {"ok": True, "pool": "default", "was": 2, "desired": 4}
    house.until_ready(4)
    assert house.ask("scale", pool="default", by=-1)["desired"] == 3
    house.until_ready(3)
    until(lambda: len(house.pool()["workers"]) == 3)
    assert load_desired(house.home) == {"default": 3}
    assert house.stop() == 0
    house.start(*house.workers(2))
    house.until_ready(3)
    assert house.ask("scale", pool="default", to=0)["desired"] == 0
    until(lambda: house.pool()["workers"] == [])
    assert house.until_state("running")


def test_a_busy_worker_is_never_drained_before_an_idle_one(house: House) -> None:
    house.behave("busy=4 busy=3")
    house.start(*house.workers(4))
    house.until_ready(4)
    until(lambda: sum(worker["jobs_running"] for worker in house.pool()["workers"]) == 2)
    house.ask("scale", pool="default", to=2)
    until(lambda: [worker["slot"] for worker in house.pool()["workers"]] == [3, 4])


def test_scaling_up_and_down_while_starting_ends_where_it_should(house: House) -> None:
    house.behave("slow=0.3")
    house.start(*house.workers(2))
    until(lambda: house.pool()["workers"][0]["pid"])
    for count in (6, 1, 5, 3):
        house.ask("scale", pool="default", to=count)
    house.until_ready(3)
    until(lambda: len(house.pool()["workers"]) == 3)
    assert house.until_state("running")
    assert house.stop() == 0
    assert not house.left_over()


@pytest.mark.parametrize("arguments", [{"to": -1}, {"by": -3}, {"to": 513}, {}, {"to": "4"}, {"to": True}, {"to": 1.5}])
def test_a_scale_that_makes_no_sense_is_refused(house: House, arguments: dict[str, object]) -> None:
    house.start(*house.workers(2))
    house.until_ready(2)
    with pytest.raises(Refused):
        house.ask("scale", pool="default", **arguments)
    assert load_desired(house.home) == {}


def test_a_scale_beyond_the_connection_limit_is_refused_with_the_sum(house: House) -> None:
    house.start(*house.workers(2), policy={"connection_limit": 8, "connections_fixed": 3})
    house.until_ready(2)
    assert house.ask("scale", pool="default", to=4)["ok"]
    with pytest.raises(Refused, match=r"need 9 database connections .*connection_limit is 8"):
        house.ask("scale", pool="default", to=5)


def test_a_scale_counts_all_that_may_be_replaced_at_once_whichever_pool_they_are_of(house: House) -> None:
    other = house.group("other", "pool", instances=0)
    house.start(*house.workers(9), other, policy={"connection_limit": 14, "connections_fixed": 3})
    house.until_ready(9)
    with pytest.raises(Refused, match=r"\(10 workers \+ 2 while they are replaced\) x 1 \+ 3"):
        house.ask("scale", pool="other", to=1)


def test_an_unknown_name_is_refused_with_the_names_there_are(house: House) -> None:
    house.start(*house.workers(1), house.command("side", "sleep", "1000"))
    house.until_ready(1)
    with pytest.raises(Refused, match="there are: default"):
        house.ask("scale", pool="nope", to=1)
    with pytest.raises(Refused, match="side is an app"):
        house.ask("scale", pool="side", to=2)
    with pytest.raises(Refused, match="nothing here is named 'nope'"):
        house.ask("restart", name="nope")
    with pytest.raises(Refused, match="unknown command 'dance'"):
        house.ask("dance")


def test_a_restart_replaces_every_worker_and_never_serves_with_fewer(house: House) -> None:
    house.behave("slow=0.05")
    house.start(*house.workers(3))
    before = house.until_ready(3)
    house.ask("restart", name="default")
    fewest = 3

    def replaced() -> bool:
        nonlocal fewest
        pool = house.pool()
        fewest = min(fewest, pool["ready"])
        return not set(before) & {worker["pid"] for worker in pool["workers"]} and pool["replacing"] == 0

    until(replaced)
    assert fewest == 3
    assert [line["cause"] for line in house.exits()] == ["asked"] * 3
    assert [worker["restarts"] for worker in house.pool()["workers"]] == [1, 1, 1]


@pytest.mark.parametrize("name", ["collector", "template", "agent", "app"])
def test_a_restart_of_anything_else_replaces_its_process(house: House, name: str) -> None:
    house.start(
        house.group("collector", "collector"),
        house.group("agent", "agent", after=("collector",)),
        *house.workers(1, after=("collector", "agent", "template")),
        house.command("app", "sleep", "1000"),
    )
    house.until_state("running")
    workers = house.pids()
    old = _pid(house, name)
    house.ask("restart", name=name)
    until(lambda: _pid(house, name) not in (None, old))
    until(lambda: not is_alive(old))
    assert house.pids() == workers
    house.until_state("running")
    assert house.stop() == 0


def _pid(house: House, name: str) -> int:
    status = house.status()
    found = next(role for role in [*status["roles"], *status["apps"]] if role["name"] == name)
    pid: int = found["processes"][0]["pid"]
    return pid


def test_the_history_says_who_wished_an_end(house: House) -> None:
    house.start(*house.workers(3))
    house.until_ready(3)
    house.ask("scale", pool="default", to=2)
    until(lambda: house.exits())
    house.ask("restart", name="default", reason="new weights")
    until(lambda: len(house.exits()) == 3)
    house.signal(signal.SIGTERM)
    house.until_ended()
    by = [line["asked_by"] for line in house.exits()]
    me = {"uid": os.getuid(), "pid": os.getpid()}
    assert [asker["command"] for asker in by[:3]] == ["scale pool=default to=2", *["restart name=default"] * 2]
    assert all(asker.items() >= me.items() and "pytest" in asker["command_line"] for asker in by[:3])
    assert by[1]["reason"] == "new weights"
    assert {asker["command"] for asker in by[3:]} == {"SIGTERM"}


def test_a_worker_that_left_by_itself_was_asked_by_nobody(house: House) -> None:
    house.behave("calm")
    house.start(*house.workers(1, lifetime_seconds=0.3))
    house.until_ready(1)
    house.ask("restart", name="default")
    until(lambda: [line for line in house.exits() if line["cause"] == "lifetime"])
    asked = {line["cause"]: line["asked_by"] for line in house.exits()}
    assert asked["lifetime"] is None


def test_every_mutating_command_leaves_an_audit_line(house: House) -> None:
    house.start(*house.workers(1))
    house.until_ready(1)
    house.ask("scale", pool="default", to=2, reason="more  work\nnow")
    house.ask("reopen")
    with pytest.raises(Refused):
        house.ask("scale", pool="nobody", to=2)
    house.status()
    lines = house.facts("Command")
    assert len(lines) == 3
    assert f'command="scale pool=default to=2" uid={os.getuid()} pid={os.getpid()}' in lines[0]
    assert 'reason="more work now"' in lines[0] and "pytest" in lines[0]
    assert "refused=" in lines[2]
    (started,) = house.facts("Started")
    assert f"uid={os.getuid()} pid={os.getpid()}" in started and "pytest" in started


@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"nonsense\n", b"[]\n", b"{}\n", b'{"command": 3}\n', b"\xff\xfe\n", b"[" * 60000 + b"\n", b"x" * 70000],
)
def test_garbage_on_the_socket_is_answered_and_harms_nobody(house: House, garbage: bytes) -> None:
    house.start(*house.workers(1))
    house.until_ready(1)
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(5)
        end.connect(str(house.home / "run" / "control.sock"))
        end.sendall(garbage)
        assert b'"ok":false' in end.recv(4096)
    assert house.status()["supervisor"]["state"] == "running"


def test_silent_and_hasty_clients_do_not_hold_up_others(house: House) -> None:
    house.start(*house.workers(1))
    house.until_ready(1)
    ends = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    for end in ends:
        end.connect(str(house.home / "run" / "control.sock"))
    for end in ends[:10]:
        end.send(b'{"command": "status"}')
    for end in ends[5:10]:
        end.close()
    begun = time.monotonic()
    house.status()
    assert time.monotonic() - begun < 1
    for end in ends:
        end.close()
    assert house.stop() == 0


def test_a_home_with_a_long_path_is_reached_all_the_same(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    house = House(deep)
    try:
        house.start(*house.workers(1))
        house.until_ready(1)
        assert house.stop() == 0
    finally:
        house.clean()


def test_the_log_follows_a_renamed_file(house: House) -> None:
    house.start(house.group("collector", "collector"), *house.workers(1))
    house.until_ready(1)
    path = house.home / "logs" / "supervisor.log"
    path.rename(path.with_suffix(".old"))
    house.signal(signal.SIGUSR1)
    until(path.exists)
    assert house.stop() == 0
    assert "event StopAsked" in path.read_text()


def test_a_damaged_state_file_is_no_reason_not_to_start(house: House) -> None:
    (house.home / "state").mkdir(parents=True)
    (house.home / "state" / "desired.toml").write_text("default = = 3")
    house.start(*house.workers(2))
    house.until_ready(2)


def test_a_composition_that_makes_no_sense_is_unusable(house: House) -> None:
    house.start(house.group("default", "pool", after=()))
    assert house.until_ended() == 78
    assert "pool default must be after its template" in house.log()
    assert load_composition  # the same check as the command line can make before it starts anything
