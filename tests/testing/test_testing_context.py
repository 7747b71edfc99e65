"""workerctl.testing: handlers run on real files, a clock that the test moves, a provider that the test is."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest

from workerctl import Context, Fail, InvalidPayload, Retry, Snooze, job
from workerctl.testing import context, run
from workerctl.testing.simulator import Fault, FaultKind, Simulator


@dataclass
class Portrait:
    person: str
    size: int = 256


@job("testing.portrait")
async def portrait(payload: Portrait, ctx: Context) -> dict:
    if ctx.seconds_left() < 10:
        raise Snooze(60, "too late to begin")
    if (url := ctx.remembered("url")) is None:
        asked = {"model": "dall-e-2", "prompt": payload.person, "size": f"{payload.size}x{payload.size}"}
        answer = await ctx.http.post("http://provider/v1/images/generations", json=asked)
        if answer.status_code == 429:
            raise Retry("limited", after_seconds=float(answer.headers["retry-after"]))
        url = answer.json()["data"][0]["url"]
        ctx.remember("url", url)
    picture = await ctx.http.get(url)
    stored = ctx.storage.put(f"portraits/{payload.person}.png", picture.content)
    ctx.enqueue("testing.sign", {"key": stored.key})
    ctx.progress(1, 1)
    return {"key": stored.key}


@job("testing.sum", batch=10)
def add_up(payloads: list[Portrait]) -> int:
    return sum(one.size for one in payloads)


@job("testing.each", batch=10)
def each_alone(payloads: list[dict]) -> list:
    return [Fail("no name") if "name" not in payload else Portrait(payload["name"]) for payload in payloads]


@job("testing.forgets", batch=10)
def forgets_one(payloads: list[dict]) -> list:
    return [None for _ in payloads[1:]]


def answering(request: httpx.Request) -> httpx.Response:
    if request.url.path.startswith("/v1/"):
        return httpx.Response(200, json={"data": [{"url": "http://provider/1.png"}]})
    return httpx.Response(200, content=b"a picture")


def test_a_handler_runs_on_real_storage_with_a_provider_that_the_test_is(tmp_path):
    ctx = context(tmp_path, kind="testing.portrait", provider=answering, user_id="u1", priority=3)
    assert run(portrait, {"person": "Anna"}, ctx) == {"key": "portraits/Anna.png"}
    assert ctx.storage.get("portraits/Anna.png") == b"a picture"
    assert ctx.progress_now == (1, 1)
    assert ctx.memory == {"url": "http://provider/1.png"}
    (sign,) = ctx.enqueued
    assert (sign["kind"], sign["user_id"], sign["priority"]) == ("testing.sign", "u1", 3)


def test_the_next_attempt_remembers_and_asks_no_second_time(tmp_path):
    asked: list[str] = []

    def failing_at_first(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if asked.count("/1.png") == 1:
            raise httpx.ReadError("cut", request=request)
        return answering(request)

    first = context(tmp_path, provider=failing_at_first)
    with pytest.raises(httpx.ReadError):
        run(portrait, {"person": "Anna"}, first)
    second = first.next_attempt()
    assert (second.job.attempt, second.job.failures) == (2, 1)
    run(portrait, {"person": "Anna"}, second)
    assert asked == ["/v1/images/generations", "/1.png", "/1.png"]


def test_what_no_worker_would_remember_is_refused_here_too(tmp_path):
    ctx = context(tmp_path)
    for key, value in [("", 1), ("k" * 201, 1), ("big", "x" * 70_000), ("nul", "a\0b")]:
        with pytest.raises(ValueError, match="remember"):
            ctx.remember(key, value)
    ctx.remember("once", (1, 2))
    assert ctx.remembered("once") == [1, 2]  # as JSON gives it back
    ctx.remember("once", None)
    assert ctx.remembered("once", "gone") == "gone"


def test_time_passes_when_the_test_says_so(tmp_path):
    ctx = context(tmp_path, provider=answering)
    ctx.clock.advance(295)
    assert ctx.seconds_left() == 5
    with pytest.raises(Snooze):
        run(portrait, {"person": "Anna"}, ctx)
    ctx.clock.advance(1000)
    assert ctx.seconds_left() == 0
    with pytest.raises(ValueError, match="go back"):
        ctx.clock.advance(-1)


def test_a_payload_that_does_not_fit_is_refused_as_at_enqueue(tmp_path):
    with pytest.raises(InvalidPayload, match="size"):
        run(portrait, {"person": "Anna", "size": "big"}, context(tmp_path))
    assert run(add_up, [Portrait("A", 1), {"person": "B", "size": 2}], context(tmp_path)) == 3
    with pytest.raises(ValueError, match="no handler"):
        run(answering, {}, context(tmp_path))


def test_a_batch_handler_has_an_outcome_for_each_job(tmp_path):
    stored, failed = run(each_alone, [{"name": "Anna"}, {}], context(tmp_path))
    assert stored == {"person": "Anna", "size": 256}
    assert isinstance(failed, Fail) and str(failed) == "no name"


def test_a_batch_handler_that_forgets_a_job_fails(tmp_path):
    with pytest.raises(Fail, match="returned 1 outcomes for 2 payloads"):
        run(forgets_one, [{}, {}], context(tmp_path))


def test_without_a_provider_no_request_leaves_and_without_a_database_it_says_so(tmp_path):
    with pytest.raises(AssertionError, match="no provider answers"):
        run(portrait, {"person": "Anna"}, context(tmp_path))
    with pytest.raises(RuntimeError, match="no database"):
        context(tmp_path).database()


@job("testing.simulated")
async def simulated(payload: dict, ctx: Context) -> int:
    answer = await ctx.http.post(
        payload["url"] + "/images/generations",
        json={"model": "dall-e-2", "prompt": "a cat", "size": "256x256"},
        headers={"Authorization": "Bearer simulator"},
    )
    return answer.status_code


def test_a_context_reaches_its_simulator_and_nobody_else(tmp_path):
    with Simulator(script=[Fault(FaultKind.SERVER_ERROR)]) as provider:
        ctx = context(tmp_path, provider=provider)
        assert [run(simulated, {"url": provider.openai_url}, ctx) for _ in range(2)] == [500, 200]
        with pytest.raises(AssertionError, match="no provider"):
            run(simulated, {"url": "http://127.0.0.1:9/v1"}, ctx)
