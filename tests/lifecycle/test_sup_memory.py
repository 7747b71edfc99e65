"""Real workers over their memory limit: one that only has to be asked, and what is told of growth."""

from __future__ import annotations

from collections.abc import Callable

from lifecycle_house import CONFIG, House, until
from msgspec.structs import replace

from workerctl.cli.launch import start_in_background
from workerctl.supervisor.composition import load_composition, save_composition


def test_a_worker_that_has_freed_its_memory_is_asked_for_it_and_stays(build: Callable[..., House]) -> None:
    house = build(CONFIG + '[supervisor]\nmax_memory = "120MB"\nmax_memory_hard = "1GB"\n')
    house.start(1)
    [worker] = house.ready()
    house.until_status(house.enqueue("spikes", mebibytes=200), "succeeded")
    until(lambda: "TrimSent slot=default/1" in house.log(), 20, what="it is asked to give back")

    def is_small() -> bool:
        return house.ready()[0]["rss_bytes"] < 120 << 20

    until(is_small, 20, what="it has given back")
    assert [each["pid"] for each in house.ready()] == [worker["pid"]]
    assert not house.exits()


def test_growth_is_told_by_kind_while_it_lives_and_after_its_end(build: Callable[..., House]) -> None:
    house = build(CONFIG + '[supervisor]\nmax_memory = "100MB"\nmax_memory_hard = "120MB"\n')
    house.start(1)
    job = house.gated()
    house.until_status(house.enqueue("fatten", mebibytes=60), "succeeded")
    until(lambda: "with fatten in hand (1 jobs)" in house.ok("show", "default"), 20, what="the growth is shown")
    house.until_status(house.enqueue("fatten", mebibytes=150), "succeeded")
    until(lambda: [end for end in house.exits() if end["cause"] == "memory-hard"], 20)
    assert "with fatten in hand" in house.ok("why", "default/1")
    house.open_gate()
    assert house.until_status(job, "succeeded")["deaths"] == 1


def test_while_memory_is_short_the_heaviest_worker_claims_nothing(house: House) -> None:
    house.start(2)
    house.ok("stop")
    group = house.folder / "cgroup"  # what the kernel would say of one with 1 GB
    group.mkdir()
    (group / "memory.max").write_text(str(1 << 30))
    (group / "memory.current").write_text(str(100 << 20))
    path = house.home / "run" / "composition.json"
    composition = load_composition(path)
    policy = replace(composition.policy, sample_seconds=0.2)
    save_composition(replace(composition, memory_cgroups=(str(group),), policy=policy), path)
    started = start_in_background(house.home)
    assert started.stdout is not None
    started.stdout.close()
    house.launched.append(started)  # type: ignore[arg-type]
    until(house.is_running)
    house.until_ready(2)
    house.until_status(house.enqueue("fatten", mebibytes=60), "succeeded")
    until(lambda: max(each["rss_bytes"] for each in house.ready()) > 80 << 20)
    heaviest = max(house.ready(), key=lambda each: each["rss_bytes"])

    (group / "memory.current").write_text(str(1000 << 20))
    until(lambda: f"RestSent slot=default/{heaviest['slot']}" in house.log(), what="the heaviest rests")
    for job in house.enqueue_all("mark", [{"file": str(house.effects), "seconds": 0.02}] * 30):
        house.until_status(job, "succeeded")
    assert str(heaviest["pid"]) not in {line[3] for line in house.noted("mark")}

    (group / "memory.current").write_text(str(100 << 20))
    until(lambda: "rests=False" in house.log(), what="it claims again")
    house.enqueue_all("mark", [{"file": str(house.effects), "seconds": 0.2}] * 40)
    until(lambda: str(heaviest["pid"]) in {line[3] for line in house.noted("mark")}, what="it has work again")
