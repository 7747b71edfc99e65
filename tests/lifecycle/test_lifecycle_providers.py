"""A real worker dies by SIGKILL between a provider's call and its answer: nothing is paid for twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from lifecycle_house import House, until

from workerctl.testing.simulator import Simulator

CONFIG = """
[jobs]
retry_delay = "100ms"
[providers.fal]
type = "fal"
kinds = ["video"]
base_url = "{fal}"
model = "fal-ai/ltx-video"
price_video = 0.02
[providers.openai]
type = "openai"
kinds = ["image"]
base_url = "{openai}"
model = "gpt-image-1"
sizes = ["1024x1024"]
price_image = 0.04
"""
IN_FLIGHT = "SELECT count(*) FROM workerctl.spend WHERE state = 'in flight'"
REMEMBERED = "SELECT count(*) FROM workerctl.memory WHERE key LIKE 'request %%'"


@pytest.fixture
def provider() -> Iterator[Simulator]:
    with Simulator(key="simulator", latency=2.5) as simulator:
        yield simulator


def value(house: House, query: str) -> Any:
    with house.database() as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_a_killed_worker_pays_nothing_twice(build: Callable[..., House], provider: Simulator):
    house = build(CONFIG.format(fal=provider.base_url, openai=provider.openai_url))
    house.environ |= {"OPENAI_API_KEY": "simulator", "FAL_KEY": "simulator"}
    house.start(1)
    video = house.enqueue("video.generate", prompt="a boat passes burning ships")
    batch = house.enqueue("image.batch", prompt="a lighthouse", count=3)
    until(lambda: value(house, IN_FLIGHT) == 4 and value(house, REMEMBERED) == 1, what="four calls are under way")
    until(lambda: len(provider.ledger.entries) == 4, what="the provider knows of them")
    for worker in house.workers():
        os.kill(worker["pid"], signal.SIGKILL)
    done = house.until_status(batch, "succeeded", 60)
    assert (done["children_total"], done["children_succeeded"]) == (3, 3)
    film = house.until_status(video, "succeeded", 60)
    assert film["result"]["format"] == "mp4"
    assert film["attempt"] == 2
    assert len(provider.paid) == 4
    assert sorted(entry.operation for entry in provider.paid) == ["images", "images", "images", "submit"]
    rows = house.json("spend", "--by", "kind")
    assert [(row["kind"], row["calls"], row["images"], row["in_flight"]) for row in rows] == [
        ("image.generate", 3, 3, 0), ("video.generate", 1, 0, 0),
    ]  # fmt: skip
    assert rows[0]["cost"] == pytest.approx(0.12)


def test_what_is_looked_up_is_counted_where_workers_are_shown(build: Callable[..., House], provider: Simulator):
    house = build(CONFIG.format(fal=provider.base_url, openai=provider.openai_url))
    house.environ |= {"OPENAI_API_KEY": "simulator", "FAL_KEY": "simulator"}
    house.start(1)
    for _ in range(2):
        house.until_status(house.enqueue("image.batch", prompt="a lighthouse", count=1), "succeeded", 60)
    counted = [{"use": "quota", "hits": 1, "misses": 1, "entries": 1}]
    until(lambda: house.workers()[0]["caches"] == counted, what="the look-ups are in the worker's report")
    assert "quota 1 times from memory, 1 times not, 1 kept" in house.ok("show", "default/1")


def test_a_worker_that_leaves_hands_its_request_on(build: Callable[..., House], provider: Simulator):
    house = build(
        CONFIG.format(fal=provider.base_url, openai=provider.openai_url) + '[supervisor]\nstop_timeout = "2s"\n'
    )
    house.environ |= {"OPENAI_API_KEY": "simulator", "FAL_KEY": "simulator"}
    house.start(1)
    video = house.enqueue("video.generate", prompt="a boat passes burning ships")
    until(lambda: value(house, REMEMBERED) == 1, what="the request is remembered")
    house.ok("stop")
    house.start(1)
    house.until_status(video, "succeeded", 60)
    [entry] = provider.ledger.entries
    assert (entry.paid, entry.outcome) == (True, "delivered")


def test_a_cancelled_job_cancels_its_request_at_the_provider(build: Callable[..., House]):
    with Simulator(key="simulator", latency=60, runners=1) as provider:
        house = build(CONFIG.format(fal=provider.base_url, openai=provider.openai_url))
        house.environ |= {"OPENAI_API_KEY": "simulator", "FAL_KEY": "simulator"}
        house.start(1)
        begun = house.enqueue("video.generate", prompt="takes the provider's only runner")
        until(lambda: value(house, REMEMBERED) == 1, what="the first request is remembered")
        waiting = house.enqueue("video.generate", prompt="waits in the provider's queue")
        until(lambda: value(house, REMEMBERED) == 2, what="the second request is remembered")
        until(lambda: house.job(begun)["progress"] is not None, what="the first is seen to have begun")
        for job in (waiting, begun):
            house.ok("jobs", "cancel", str(job))
        for job in (waiting, begun):
            assert house.until_status(job, "cancelled", 20)["attempt"] == 1
        until(lambda: value(house, IN_FLIGHT) == 0, what="both calls are accounted for")
        first, second = provider.ledger.entries
        assert (first.paid, second.paid, second.outcome) == (True, False, "cancelled")
        house.ok("jobs", "retry", str(begun))  # what was given up is asked for anew, once
        until(lambda: len(provider.ledger.entries) == 3, what="a third request is submitted")
        rows = house.json("spend", "--by", "kind")
        assert [(row["calls"], row["cost"]) for row in rows] == [(2, pytest.approx(0.04))]
