"""A call that was paid for and whose answer was lost: no later trouble makes us pay for another one."""

from __future__ import annotations

from typing import Any

import pytest

from workerctl.jobs.providers import calls
from workerctl.jobs.providers.wire import FETCH_TRIES
from workerctl.testing.simulator import Fault, FaultKind, Simulator

K = FaultKind
PICTURE = {"prompt": "a red fan", "width": 256, "height": 256}


def openai(provider: Simulator) -> str:
    return f"""
[providers.simulator]
type = "openai"
kinds = ["image"]
base_url = "{provider.openai_url}"
model = "gpt-image-2"
read_timeout = "300ms"
price_image = 0.04
"""


@pytest.mark.parametrize(
    ("lost", "then"),
    [
        (K.RESET, K.SERVER_ERROR),
        (K.HALF_BODY, K.RATE_LIMITED),
        (K.HANG, K.RATE_LIMITED_BARE),
        (K.RESET, K.WRONG_TYPE),
        (K.HALF_BODY, K.NOT_AN_IMAGE),
    ],
)
def test_a_lost_answer_is_asked_for_under_its_key_whatever_its_repeat_meets(
    desk: Any, provider: Simulator, lost: K, then: K
) -> None:
    at = desk(openai(provider))
    provider.faults.add(Fault(lost), Fault(then, retry_after_seconds=0.01))
    job_id = at.enqueue("image.generate", PICTURE)
    for _ in range(3):
        job = at.attempt(job_id)
        at.queue.execute("UPDATE workerctl.provider SET paused_until = now()")
        calls._paused_until.clear()
    assert job["status"] == "succeeded", job["error"]
    (entry,) = provider.paid
    assert entry.repeats == 2
    assert at.spend() == [("paid", 0.04)]


def test_a_refusal_of_the_repeat_is_final_and_the_first_call_stays_in_the_account(
    desk: Any, provider: Simulator
) -> None:
    at = desk(openai(provider))
    provider.faults.add(Fault(K.RESET), Fault(K.REFUSED))
    job = at.run("image.generate", PICTURE, attempts=2)
    assert job["status"] == "dead"
    assert at.spend() == [("unknown", 0.04)]


FAL = """
[providers.simulator]
type = "fal"
kinds = ["image"]
base_url = "{provider.base_url}"
model = "fal-ai/flux/dev"
"""
BY_ADDRESS = """
[providers.simulator]
type = "openai"
kinds = ["image"]
base_url = "{provider.openai_url}"
model = "dall-e-2"
answer = "url"
"""


@pytest.mark.parametrize("config", [FAL, BY_ADDRESS], ids=["fal", "openai"])
def test_a_download_that_has_to_wait_costs_neither_an_attempt_nor_a_second_picture(
    desk: Any, provider: Simulator, config: str
) -> None:
    at = desk(config.format(provider=provider))
    provider.faults.add(*[Fault(K.RATE_LIMITED_BARE, operation="file")] * FETCH_TRIES)
    job_id = at.enqueue("image.generate", PICTURE)
    waiting = at.attempt(job_id)
    assert (waiting["status"], waiting["failures"]) == ("pending", 0)
    at.queue.execute("UPDATE workerctl.provider SET paused_until = now()")
    calls._paused_until.clear()
    job = at.attempt(job_id)
    assert job["status"] == "succeeded", job["error"]
    assert len(provider.paid) == 1


@pytest.mark.parametrize("config", [FAL, BY_ADDRESS], ids=["fal", "openai"])
def test_a_download_that_has_to_wait_a_little_leaves_nobody_else_waiting(
    desk: Any, provider: Simulator, config: str
) -> None:
    at = desk(config.format(provider=provider))
    wait = Fault(K.RATE_LIMITED, operation="file", retry_after_seconds=0.05)
    provider.faults.add(wait, wait)
    job = at.run("image.generate", PICTURE)
    assert job["status"] == "succeeded", job["error"]
    assert at.queue.execute("SELECT count(*) FROM workerctl.provider").fetchone() == (0,)
