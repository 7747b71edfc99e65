"""Reloads of real processes: new code, broken code, both templates gone, hangups."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

import pytest
from toy_house import House, is_alive, until

from workerctl.supervisor.client import Refused
from workerctl.supervisor.composition import Group

QUICK = {"probation_seconds": 0.3}


def workers(house: House, instances: int = 3, **fields: object) -> tuple[Group, ...]:
    return (
        house.group("collector", "collector"),
        house.group("template", "template", instances=2, after=("collector",)),
        house.group("default", "pool", instances=instances, after=("collector", "template"), **fields),
    )


def codes(house: House) -> set[str]:
    return {worker["release"] for worker in house.pool()["workers"]}


def spare(house: House) -> int:
    found = next(role for role in house.status()["roles"] if role["name"] == "template")
    pid: int = found["processes"][1]["pid"]
    return pid


def test_new_code_replaces_every_worker_without_a_gap(house: House) -> None:
    house.behave("code=aaa")
    house.start(*workers(house), policy=QUICK)
    before = house.until_ready(3)
    assert codes(house) == {"1@aaa"}
    house.behave("code=bbb slow=0.05")
    number = house.reload(*workers(house))
    fewest = 3

    def moved() -> bool:
        nonlocal fewest
        fewest = min(fewest, house.pool()["ready"])
        return codes(house) == {"2@bbb"} and house.status()["supervisor"]["state"] == "running"

    until(moved, 20, house.log)
    assert fewest == 3
    assert house.until_reloaded(number)["outcome"] == "committed"
    until(lambda: not any(is_alive(pid) for pid in before))
    until(lambda: [line["cause"] for line in house.exits()].count("reload") == 3 + 2)  # the old templates too
    assert house.stop() == 0
    assert not house.left_over()


@pytest.mark.parametrize("broken", ["template-broken", "template-unusable", "crash-at-boot", "die-on-probation"])
def test_broken_code_costs_no_worker(house: House, broken: str) -> None:
    house.start(*workers(house), policy=QUICK)
    before = house.until_ready(3)
    template = house.role("template")["pid"]
    until(lambda: spare(house))
    house.behave(broken)
    ended = house.until_reloaded(house.reload(*workers(house)))
    assert ended["outcome"] == "failed"
    assert ended["message"]
    assert house.pids() == before
    assert house.role("template")["pid"] == template
    assert house.until_state("running")
    house.ask("scale", pool="default", to=3)
    house.behave("")
    os.kill(before[0], signal.SIGKILL)
    assert set(house.until_ready(3)) > set(before[1:])
    assert house.stop() == 0


def _has_other_template(house: House, old: int) -> bool:
    template = house.role("template")  # one answer: phase and pid of the same moment
    return template["phase"] == "ready" and template["pid"] not in (None, old)


def test_scaling_while_the_code_on_disk_is_broken_forks_the_committed_release(house: House) -> None:
    house.behave("code=aaa")
    house.start(*workers(house, 1))
    house.until_ready(1)
    until(lambda: spare(house))
    house.behave("template-broken")
    for _ in range(2):
        old = house.role("template")["pid"]
        os.kill(old, signal.SIGKILL)
        until(partial(_has_other_template, house, old))
    house.ask("scale", pool="default", to=3)
    house.until_ready(3)
    assert codes(house) == {"1@aaa"}
    assert house.stop() == 0


def test_a_second_reload_supersedes_the_first(house: House) -> None:
    house.start(*workers(house), policy=QUICK)
    house.until_ready(3)
    house.behave("code=bbb")
    first = house.reload(*workers(house))
    until(lambda: "2@bbb" in codes(house) or len(house.facts("Spawned")) > 6)
    house.behave("code=ccc")
    second = house.reload(*workers(house))
    assert house.until_reloaded(second)["outcome"] == "committed"
    assert (first, second) == (2, 3)
    until(lambda: codes(house) == {"3@ccc"})
    until(lambda: len(house.status()["roles"]) == 2)
    assert house.stop() == 0
    assert not house.left_over()


def test_new_settings_of_a_pool_come_with_the_commit(house: House) -> None:
    house.start(*workers(house, 2), policy=QUICK)
    house.until_ready(2)
    house.until_state("running")
    number = house.reload(*workers(house, 3, max_memory_bytes=123 << 20))
    house.until_reloaded(number)
    house.until_ready(3)
    assert house.pool()["memory_limit_bytes"] == 123 << 20
    assert '"max_memory_bytes": 128974848' in (house.home / "run" / "composition.json").read_text()
    assert house.stop() == 0


def test_an_app_that_is_composed_otherwise_is_restarted_after_the_commit(house: House) -> None:
    house.start(*workers(house, 1), house.command("app", "sleep", "1000"), policy=QUICK)
    house.until_ready(1)
    house.until_state("running")
    old = house.status()["apps"][0]["processes"][0]["pid"]
    house.until_reloaded(house.reload(*workers(house, 1), house.command("app", "sleep", "1000")))
    assert house.status()["apps"][0]["processes"][0]["pid"] == old
    house.until_reloaded(house.reload(*workers(house, 1), house.command("app", "sleep", "2000")))
    until(lambda: house.status()["apps"][0]["processes"][0]["pid"] not in (None, old))
    assert house.stop() == 0


def test_apps_come_and_go_with_a_reload_and_others_are_untouched(house: House) -> None:
    sleep = partial(house.command, "stays", "sleep", "1000")
    house.start(*workers(house, 1), sleep(), house.command("goes", "sleep", "1000"), policy=QUICK)
    house.until_ready(1)
    house.until_state("running")
    pids = {app["name"]: app["processes"][0]["pid"] for app in house.status()["apps"]}
    number = house.reload(*workers(house, 1), sleep(), house.command("comes", "sleep", "1000", after=("stays",)))
    house.until_reloaded(number)
    until(lambda: [app["name"] for app in house.status()["apps"]] == ["stays", "comes"], 10, house.log)
    until(lambda: house.status()["apps"][1]["processes"][0]["phase"] == "ready")
    assert house.status()["apps"][0]["processes"][0]["pid"] == pids["stays"]
    assert not is_alive(pids["goes"])
    [end] = [line for line in house.exits() if line["group"] == "goes"]
    assert (end["cause"], end["asked_by"]["command"].split()[0]) == ("reload", "reload")
    assert house.stop() == 0
    assert not house.left_over()


def test_a_pool_without_workers_still_proves_the_new_code(house: House) -> None:
    house.start(*workers(house, 0), policy=QUICK)
    house.until_state("running")
    house.behave("die-on-probation")
    assert house.until_reloaded(house.reload(*workers(house, 0)))["outcome"] == "failed"
    house.behave("")
    number = house.reload(*workers(house, 0))
    assert house.until_reloaded(number)["outcome"] == "committed"
    until(lambda: house.pool()["workers"] == [])
    assert house.exits()[-1]["cause"] == "reload"
    assert house.stop() == 0


def test_what_needs_a_restart_is_refused_by_name(house: House) -> None:
    house.start(*workers(house, 1))
    house.until_ready(1)
    house.until_state("running")
    with pytest.raises(Refused, match="agent came or went"):
        house.reload(*workers(house, 1), house.group("agent", "agent"))
    with pytest.raises(Refused, match="'nope' cannot be reloaded alone; there are: default"):
        house.reload(*workers(house, 1), name="nope")
    with pytest.raises(Refused) as refusal:
        house.ask("reload", composition=str(house.home / "nowhere.json"))
    assert refusal.value.exit_code == 78
    assert house.stop() == 0


def test_hangups_during_a_reload_command_run_it_once_more(house: House) -> None:
    note = house.folder / "asked"
    command = (sys.executable, "-c", f"import time; open({str(note)!r}, 'a').write('x'); time.sleep(0.5)")
    house.start(*workers(house, 1), reload_command=command, project=str(house.folder))
    house.until_ready(1)
    house.signal(signal.SIGHUP)
    until(note.exists)
    for _ in range(3):
        house.signal(signal.SIGHUP)
        house.status()  # each has arrived before the next
    until(lambda: note.exists() and note.read_text() == "xx" and len(house.facts("HangupAnswered")) == 2)
    assert house.status()["supervisor"]["state"] == "running"
    assert house.stop() == 0
