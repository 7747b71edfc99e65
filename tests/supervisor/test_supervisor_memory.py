"""Memory: giving back, replacing, killing, resting; what cgroups say; what is written down."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from toy_house import House, until
from toy_world import HOUSE, POLICY, World

from workerctl.supervisor import events as ev
from workerctl.supervisor.actions import Drain, Kill, Rest, Spawn, Trim
from workerctl.supervisor.machine import KernelKills, machine_memory
from workerctl.supervisor.members import Member, Memory, Usage
from workerctl.supervisor.plan import plan
from workerctl.supervisor.restart import cause_of
from workerctl.supervisor.states import Cause

MEBIBYTE = 1 << 20


def world_of(**fields: object) -> World:
    groups = tuple(msgspec.structs.replace(g, **fields) if g.name == "default" else g for g in HOUSE)
    return World(groups).run(3)


def swell(world: World, size: int, samples: int, slot: int = 3) -> int:
    found = world.members("default")[slot - 1]
    for _ in range(samples):
        world.fatten(*found, size)
        world.run(0.01)
    return found[2].serial


def machine(world: World, free: float) -> None:
    world.happen(ev.MachineSampled(world.now, Memory(1000, int(1000 * free))))


def test_two_samples_over_the_hard_limit_kill_and_count_as_a_fault() -> None:
    world = world_of(max_memory_hard_bytes=125)
    world.performed.clear()
    serial = swell(world, 126, 1)
    assert [action for _, action, _ in world.performed] == [Trim("default", 3, serial)]
    swell(world, 126, 1)
    assert Kill("default", 3, serial, Cause.MEMORY_HARD) in [action for _, action, _ in world.performed]
    world.run(1)
    slot = world.roster.teams["default"].slots[2]
    assert slot.last_exit is not None and slot.last_exit.cause is Cause.MEMORY_HARD
    assert len(slot.faults) == 1 and slot.is_ready


def test_a_worker_that_gave_memory_back_stays_and_may_be_asked_again_later() -> None:
    world = world_of()
    swell(world, 101, 1)
    swell(world, 50, 3)
    swell(world, 101, 1)
    world.run(1)
    assert len(world.spawns()) == 4


def test_where_no_second_worker_fits_the_fat_one_drains_first() -> None:
    world = world_of()
    machine(world, 0.09)  # 90 bytes, and the limit is 100
    world.drains_in = lambda _: 5.0
    world.performed.clear()
    serial = swell(world, 101, 4)
    actions = [action for _, action, _ in world.performed if isinstance(action, Spawn | Drain)]
    assert actions == [Drain("default", 3, serial, Cause.MEMORY_SOFT)]
    world.run(4)
    assert len(world.spawns()) == 0
    world.run(2)
    assert world.phases() == ["ready"] * 4
    assert len(world.spawns()) == 1


def test_where_no_second_worker_fits_all_of_them_too_fat_leave_one_after_the_other() -> None:
    world = world_of()
    machine(world, 0.09)
    world.drains_in = lambda _: 5.0
    for slot in (1, 2, 3, 4):
        swell(world, 101, 4, slot=slot)
    away_at_once = 0
    for _ in range(60):
        world.run(1)
        away_at_once = max(away_at_once, 4 - world.phases().count("ready"))
    assert away_at_once == 1
    assert {slot.last_exit.cause for slot in world.roster.teams["default"].slots if slot.last_exit} == {
        Cause.MEMORY_SOFT
    }
    assert len(world.spawns()) == 4 + 4


def test_the_heaviest_worker_rests_while_the_machine_is_short_and_claims_again_after() -> None:
    world = world_of()
    serial = swell(world, 60, 1, slot=2)
    machine(world, 0.09)
    assert plan(world.roster, POLICY, world.now) == (Rest("default", 2, serial, rests=True),)
    world.run(1)
    assert plan(world.roster, POLICY, world.now) == ()
    machine(world, 0.12)
    assert plan(world.roster, POLICY, world.now) == ()
    machine(world, 0.2)
    assert plan(world.roster, POLICY, world.now) == (Rest("default", 2, serial, rests=False),)


def test_a_machine_that_waits_for_memory_is_short_of_it_though_some_is_free() -> None:
    world = world_of()
    serial = swell(world, 60, 1, slot=2)
    for stalled, steps in (
        (9.0, ()),
        (11.0, (Rest("default", 2, serial, rests=True),)),
        (3.0, ()),
        (1.0, (Rest("default", 2, serial, rests=False),)),
    ):
        world.happen(ev.MachineSampled(world.now, Memory(1000, 800, stalled_percent=stalled)))
        assert plan(world.roster, POLICY, world.now) == steps
        world.run(0.1)


def test_the_only_worker_never_rests() -> None:
    world = world_of(instances=1)
    machine(world, 0.01)
    assert plan(world.roster, POLICY, world.now) == ()


def test_pages_shared_with_the_template_do_not_count() -> None:
    world = world_of()
    member = world.members("default")[0][2]
    for _ in range(4):
        world.happen(ev.MemorySampled(world.now, "default", 1, member.serial, Usage(150, 0.0, private_bytes=60)))
        world.run(0.01)
    assert len(world.spawns()) == 4


def test_a_worker_that_grows_is_asked_to_give_back_and_stays_when_it_did(house: House) -> None:
    house.behave("fat=60 trims")
    house.start(*house.workers(1, max_memory_bytes=50 * MEBIBYTE), policy={"sample_seconds": 0.05})
    (pid,) = house.until_ready(1)
    until(lambda: house.facts("TrimSent"))
    until(lambda: house.pool()["workers"][0]["rss_bytes"] < 50 * MEBIBYTE)
    assert house.pids() == [pid]
    assert (house.folder / "told").read_text() == "trim 1\n"
    assert house.stop() == 0


def test_a_worker_over_the_hard_limit_is_killed_and_its_memory_curve_is_kept(house: House) -> None:
    house.behave("fat=90")
    limits = {"max_memory_bytes": 50 * MEBIBYTE, "max_memory_hard_bytes": 70 * MEBIBYTE}
    house.start(*house.workers(1, **limits), policy={"sample_seconds": 0.05})
    until(lambda: house.facts("KillSent"))
    house.behave("")
    (end,) = until(lambda: [line for line in house.exits() if line["cause"] == "memory-hard"][:1])
    assert end["signal"] == 9
    assert max(end["memory_curve_mb"]) >= 70 and len(end["memory_curve_mb"]) <= 60
    assert end["private_bytes"] > 70 * MEBIBYTE
    house.until_ready(1)
    assert house.stop() == 0


def test_what_a_worker_started_counts_as_its_own(house: House) -> None:
    house.behave("fat-child=80")
    house.start(*house.workers(1, max_memory_bytes=60 * MEBIBYTE), policy={"sample_seconds": 0.05})
    until(lambda: house.facts("Spawned"))
    until(lambda: [line for line in house.log().splitlines() if "replaces=memory-soft" in line])
    house.behave("")
    until(lambda: [line for line in house.exits() if line["cause"] == "memory-soft"])
    assert house.stop() == 0


def cgroup_v2(root: Path, **files: str) -> Path:
    folder = root / "app"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return root


def test_the_memory_that_is_left_is_that_of_the_tightest_cgroup(tmp_path: Path) -> None:
    cgroup_v2(tmp_path, memory_max="1000000\n", memory_current="900000\n", memory_stat="anon 1\ninactive_file 100000\n")
    assert machine_memory([tmp_path / "app"], tmp_path / "none") == Memory(1000000, 200000)
    v1 = tmp_path / "memory" / "app"
    v1.mkdir(parents=True)
    (v1 / "memory.limit_in_bytes").write_text("500000\n")
    (v1 / "memory.usage_in_bytes").write_text("400000\n")
    (v1 / "memory.stat").write_text("total_inactive_file 50000\n")
    assert machine_memory([v1, v1.parent], tmp_path / "none") == Memory(500000, 150000)


def test_stalls_are_those_of_the_machine_or_of_a_cgroup_whichever_are_worse(tmp_path: Path) -> None:
    machine = tmp_path / "pressure"
    machine.write_text("some avg10=30.00 avg60=9 avg300=2 total=5\nfull avg10=4.50 avg60=1 avg300=0 total=5\n")
    cgroup_v2(tmp_path, memory_pressure="some avg10=0.00\nfull avg10=12.25 avg60=0.00 avg300=0.00 total=0\n")
    assert machine_memory([], machine).stalled_percent == 4.5
    assert machine_memory([tmp_path / "app"], machine).stalled_percent == 12.25
    machine.write_text("nonsense\n")
    assert machine_memory([], machine).stalled_percent == 0.0
    assert machine_memory([]).stalled_percent >= 0.0


@pytest.mark.parametrize("text", ["max\n", "", "9223372036854771712\n"])
def test_without_a_limit_it_is_the_machines(tmp_path: Path, text: str) -> None:
    cgroup_v2(tmp_path, memory_max=text, memory_current="1\n")
    assert machine_memory([tmp_path / "app"]).total_bytes > 1 << 28


def test_a_kill_of_the_kernel_is_counted_once_and_only_since_the_start(tmp_path: Path) -> None:
    cgroup_v2(tmp_path, memory_events="low 0\noom 3\noom_kill 3\n")
    kills = KernelKills([tmp_path / "app"])
    assert not kills.has_killed()
    (tmp_path / "app" / "memory.events").write_text("low 0\noom 4\noom_kill 5\n")
    assert [kills.has_killed() for _ in range(3)] == [True, True, False]
    v1 = tmp_path / "memory" / "app"
    v1.mkdir(parents=True)
    (v1 / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    kills = KernelKills([v1])
    (v1 / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert kills.has_killed() and not kills.has_killed()


def test_a_kill_of_the_kernel_is_a_cause_of_its_own_unless_we_killed() -> None:
    assert cause_of("pool", Member(1, 0.0), None, oom_killed=True) is Cause.KERNEL_OOM
    assert cause_of("pool", Member(1, 0.0, kill_cause=Cause.HUNG), None, oom_killed=True) is Cause.HUNG
