"""image.generate on remote providers: what comes of every way in which a call can end, and that it is paid for once."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from workerctl.broker.exchange import Request, exchange
from workerctl.broker.jobs import cancel_jobs
from workerctl.handler import InvalidPayload
from workerctl.storage import Storage
from workerctl.testing.simulator import Fault, FaultKind, Simulator

K = FaultKind


def openai(provider: Simulator, more: str = "", model: str = "gpt-image-1") -> str:
    return f"""
[providers.pictures]
type = "openai"
kinds = ["image"]
base_url = "{provider.openai_url}"
model = "{model}"
sizes = ["1024x1024", "1536x1024"]
price_image = 0.04
read_timeout = "1s"
{more}
"""


def fal(provider: Simulator, more: str = "") -> str:
    return f"""
[providers.pictures]
type = "fal"
kinds = ["image"]
base_url = "{provider.base_url}"
model = "fal-ai/flux/dev"
price_image = 0.025
read_timeout = "1s"
{more}
"""


CONFIGS: dict[str, Callable[..., str]] = {"openai": openai, "fal": fal}
PROMPT = {"prompt": "a lighthouse"}


def size(storage: Storage, key: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(storage.get(key))) as image:
        image.load()
        return image.size


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_picture_is_stored_and_its_call_accounted_for(desk: Any, provider: Simulator, storage: Storage, kind: str):
    at = desk(CONFIGS[kind](provider))
    job = at.run("image.generate", PROMPT | {"width": 1024, "height": 1024, "seed": 3}, user_id="u1", plan="pro")
    assert job["status"] == "succeeded", job["error"]
    result = job["result"]
    assert size(storage, result["key"]) == (result["width"], result["height"]) == (1024, 1024)
    assert (result["provider"], result["seed"], result["index"]) == ("pictures", 3, 0)
    [entry] = provider.paid
    assert (entry.outcome, entry.images, entry.prompt) == ("delivered", 1, "a lighthouse")
    price = 0.04 if kind == "openai" else 0.025
    assert at.spend() == [("paid", price)]
    row = at.queue.execute("SELECT user_id, plan, model, images, kind FROM workerctl.spend").fetchone()
    assert row == ("u1", "pro", entry.model, 1, "image.generate")


def test_an_answer_with_an_address_is_fetched_without_the_key(desk: Any, provider: Simulator, storage: Storage):
    at = desk(openai(provider, 'answer = "url"', model="dall-e-3"))
    job = at.run("image.generate", PROMPT)
    assert job["status"] == "succeeded", job["error"]
    assert size(storage, job["result"]["key"]) == (1024, 1024)


def test_the_first_size_of_a_provider_is_its_default(desk: Any, provider: Simulator):
    assert desk(openai(provider)).run("image.generate", PROMPT)["result"]["width"] == 1024


@pytest.mark.parametrize(
    ("payload", "path", "said"),
    [
        ({"prompt": ""}, "prompt", "length >= 1"),
        ({"prompt": "  \n "}, "prompt", "matching regex"),
        ({"prompt": "x" * 100_000}, "prompt", "length <= 4000"),
        ({"prompt": "a", "count": 0}, "count", ">= 1"),
        ({"prompt": "a", "count": 10_000}, "count", "<= 50"),
        ({"prompt": "a", "width": 640, "height": 480}, "width", "has no size 640x480; it has 1024x1024, 1536x1024"),
        ({"prompt": "a", "width": 1536, "height": 512}, "height", "has no size 1536x512"),
        ({"prompt": "a", "source": "a/b.png"}, "source", "makes pictures of words alone"),
    ],
)
def test_what_the_provider_cannot_do_is_refused_at_enqueue(
    desk: Any, provider: Simulator, payload: dict[str, Any], path: str, said: str
):
    at = desk(openai(provider))
    with pytest.raises(InvalidPayload, match=rf"{said}.*at `\$\.{path}`"):
        at.enqueue("image.batch", payload)
    assert provider.ledger.entries == []


def test_a_source_outside_the_storage_is_refused_at_enqueue(desk: Any):
    with pytest.raises(InvalidPayload, match=r"'\.\.' parts.*at `\$\.source`"):
        desk("").enqueue("image.generate", PROMPT | {"source": "images/../../secret"})


def test_a_missing_key_ends_the_first_job_with_the_name_of_its_variable(
    desk: Any, provider: Simulator, monkeypatch: pytest.MonkeyPatch
):
    at = desk(openai(provider, 'api_key_variable = "PICTURES_KEY"'))
    monkeypatch.delenv("PICTURES_KEY", raising=False)
    job = at.run("image.generate", PROMPT)
    assert (job["status"], job["error"]) == (
        "dead", "provider pictures: the environment variable PICTURES_KEY is not set; set it and restart")  # fmt: skip
    assert (at.spend(), provider.ledger.entries) == ([], [])


def test_a_wrong_key_is_final(desk: Any, provider: Simulator, monkeypatch: pytest.MonkeyPatch):
    at = desk(openai(provider))
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    job = at.run("image.generate", PROMPT)
    assert job["status"] == "dead"
    assert job["error"].startswith("provider pictures refuses: 401: ")
    assert "wrong" not in job["error"].replace("wrong key", "")


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_refusal_is_final_with_the_providers_words_and_free(desk: Any, provider: Simulator, kind: str):
    at = desk(CONFIGS[kind](provider))
    provider.faults.add(Fault(K.REFUSED))
    job = at.run("image.generate", PROMPT, attempts=3)
    assert (job["status"], job["failures"]) == ("dead", 1)
    assert "provider pictures refuses: " in job["error"]
    assert any(word in job["error"] for word in ("safety", "policy", "content"))
    assert (at.spend(), provider.paid) == ([], [])


def test_too_many_calls_cost_no_failure_and_pause_the_whole_fleet(desk: Any, provider: Simulator):
    at = desk(openai(provider))
    provider.faults.add(Fault(K.RATE_LIMITED, retry_after_seconds=30))
    job = at.run("image.generate", PROMPT)
    assert (job["status"], job["failures"]) == ("pending", 0)
    assert 25 < job["due_in_seconds"] <= 46
    assert "provider pictures is left alone: 429" in job["error"]
    elsewhere = desk(openai(provider))  # a process that has not heard of it
    from workerctl.jobs.providers import calls

    calls._paused_until.clear()
    waiting = elsewhere.enqueue("image.generate", PROMPT)
    assert exchange(elsewhere.queue, elsewhere.worker, Request(want=8)).claimed is None
    other = elsewhere.job(waiting)
    assert (other["status"], other["attempt"]) == ("pending", 0)
    assert "provider pictures is left alone" in other["waits_because"]
    cancel_jobs(at.queue, [waiting])
    assert len(provider.ledger.entries) == 1
    assert at.spend() == []
    at.queue.execute("UPDATE workerctl.provider SET paused_until = now()")
    calls._paused_until.clear()
    assert at.attempt(job["id"])["status"] == "succeeded"


def test_pauses_that_the_provider_does_not_measure_grow_with_every_strike(desk: Any, provider: Simulator):
    at = desk(openai(provider))
    from workerctl.jobs.providers import calls

    provider.faults.add(*[Fault(K.RATE_LIMITED_BARE)] * 3)
    job_id = at.enqueue("image.generate", PROMPT)
    pauses = []
    for _ in range(3):
        at.attempt(job_id)
        left = at.queue.execute("SELECT extract(epoch FROM paused_until - now())::float8 FROM workerctl.provider")
        pauses.append(round(left.fetchone()[0]))
        at.queue.execute("UPDATE workerctl.provider SET paused_until = now()")
        calls._paused_until.clear()
    assert pauses == [2, 4, 8]
    assert at.attempt(job_id)["status"] == "succeeded"
    assert at.queue.execute("SELECT strikes FROM workerctl.provider").fetchone() == (0,)


@pytest.mark.parametrize(
    ("kind", "fault", "paid"),
    [
        ("openai", Fault(K.SERVER_ERROR), 1),
        ("openai", Fault(K.RESET), 1),
        ("openai", Fault(K.HALF_BODY), 1),
        ("openai", Fault(K.HANG), 1),
        ("openai", Fault(K.WRONG_TYPE), 1),
        ("fal", Fault(K.SERVER_ERROR, operation="submit"), 1),
        ("fal", Fault(K.RESET, operation="submit"), 2),  # nobody learned its id: that is listed, and cannot be helped
        ("fal", Fault(K.SERVER_ERROR, operation="status"), 1),
        ("fal", Fault(K.RESET, operation="status"), 1),
        ("fal", Fault(K.OUT_OF_ORDER, operation="status"), 1),
        ("fal", Fault(K.RATE_LIMITED, operation="status", retry_after_seconds=0.1), 1),
        ("fal", Fault(K.HALF_BODY, operation="result"), 1),
        ("fal", Fault(K.HALF_BODY, operation="file"), 1),
        ("fal", Fault(K.WRONG_TYPE, operation="file"), 1),
        ("fal", Fault(K.NOT_AN_IMAGE, operation="file"), 1),
    ],
    ids=lambda one: f"{one.operation}-{one.kind.value}" if isinstance(one, Fault) else str(one),
)
def test_a_call_that_broke_off_is_tried_again_and_paid_for_once(
    desk: Any, provider: Simulator, kind: str, fault: Fault, paid: int
):
    at = desk(CONFIGS[kind](provider))
    provider.faults.add(fault)
    job = at.run("image.generate", PROMPT, attempts=2)
    assert job["status"] == "succeeded", job["error"]
    assert len(provider.paid) == paid
    states = [state for state, _ in at.spend()]
    assert states == (["paid"] if paid == 1 else ["unknown", "paid"])


def test_what_nobody_can_use_is_asked_for_once_more_and_then_bought_anew(desk: Any, provider: Simulator):
    at = desk(openai(provider))
    provider.faults.add(Fault(K.NOT_AN_IMAGE))
    job = at.run("image.generate", PROMPT, attempts=3)
    assert job["status"] == "succeeded", job["error"]
    assert [state for state, _ in at.spend()] in (["paid"], ["wasted", "paid"])
    assert len(provider.paid) == len(at.spend())


def test_a_picture_that_was_paid_for_is_not_bought_again_where_its_job_was_not_settled(desk: Any, provider: Simulator):
    at = desk(openai(provider))
    job_id = at.enqueue("image.generate", PROMPT)
    first = at.attempt(job_id)["result"]
    at.queue.execute("UPDATE workerctl.history SET status = 'dead' WHERE id = %s", [job_id])
    at.queue.execute("SELECT workerctl.retry(%s)", [job_id])
    assert at.attempt(job_id)["result"] == first
    assert len(provider.ledger.entries) == 1


def test_no_budget_no_call(desk: Any, provider: Simulator):
    more = """
[budgets.free-users]
period = "1d"
plan = "free"
per = "user"
most_cost = 0.1
[budgets.everything]
period = "1h"
most_calls = 4
"""
    at = desk(openai(provider) + more)
    ends = [at.run("image.generate", PROMPT, user_id="u1", plan="free") for _ in range(3)]
    assert [job["status"] for job in ends] == ["succeeded", "succeeded", "dead"]
    assert ends[2]["error"] == "budget free-users: 0.0800 of 0.1000 are spent, and this call costs about 0.0400"
    assert at.run("image.generate", PROMPT, user_id="u2", plan="free")["status"] == "succeeded"
    assert at.run("image.generate", PROMPT, user_id="u1", plan="pro")["status"] == "succeeded"
    assert at.run("image.generate", PROMPT, plan="pro")["error"] == "budget everything: all 4 calls are used"
    assert len(provider.ledger.entries) == 4


def test_a_provider_that_fails_again_and_again_is_left_alone(desk: Any, provider: Simulator):
    at = desk(openai(provider))
    provider.faults.add(*[Fault(K.SERVER_ERROR)] * 20)
    for _ in range(5):
        assert at.run("image.generate", PROMPT)["failures"] == 1
    job = at.run("image.generate", PROMPT)
    assert (job["status"], job["failures"]) == ("pending", 0)
    assert "many times in a row" in job["error"]
    assert len(provider.ledger.entries) == 5
