"""Pure parts: the circuit breaker, what answers mean, what calls cost."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

import httpx
import pytest

from workerctl.jobs.providers import fal_queue
from workerctl.jobs.providers.account import Account
from workerctl.jobs.providers.answers import Broken, CallFailed, Rejected, Throttled, check_answer, retry_after_seconds
from workerctl.jobs.providers.breaker import FAILURES, OPEN_SECONDS, Breaker
from workerctl.jobs.providers.prices import Used, cost_of
from workerctl.jobs.providers.wire import Unusable, fetched
from workerctl.settings.providers import ProviderSettings
from workerctl.testing import context

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def failed(times: int, at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker = breaker.called(at).failed(at)
    return breaker


def test_a_breaker_opens_after_failures_in_a_row_alone():
    assert failed(FAILURES - 1).wait_seconds(0) == 0
    assert failed(FAILURES).wait_seconds(0) == OPEN_SECONDS
    mended = failed(FAILURES - 1).answered().failed(0)
    assert mended.wait_seconds(0) == 0


def test_after_its_rest_one_call_probes_and_decides():
    rested = failed(FAILURES)
    assert rested.wait_seconds(OPEN_SECONDS - 1) == 1
    probing = rested.called(OPEN_SECONDS)
    assert rested.wait_seconds(OPEN_SECONDS) == 0
    assert probing.wait_seconds(OPEN_SECONDS) > 0  # the others
    assert probing.answered().wait_seconds(OPEN_SECONDS) == 0
    assert probing.failed(OPEN_SECONDS + 1).wait_seconds(OPEN_SECONDS + 1) == OPEN_SECONDS
    assert probing.left().wait_seconds(OPEN_SECONDS) == 0  # somebody else may probe


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "said"),
    [
        (429, {"retry-after": "7"}, b'{"error": {"message": "slow down"}}', Throttled, "429: slow down"),
        (429, {}, b'{"error": {"message": "pay", "code": "insufficient_quota"}}', Throttled, "429: pay"),
        (503, {"retry-after": "3"}, b"", Throttled, "503: no words"),
        (503, {}, b"<html>busy</html>", Broken, "503: <html>busy</html>"),
        (500, {}, b'{"detail": "Internal server error"}', Broken, "500: Internal server error"),
        (409, {}, b"{}", Broken, "409: {}"),
        (401, {}, b'{"error": {"message": "no key"}}', Rejected, "401: no key"),
        (422, {}, b'{"detail": [{"loc": ["body", "prompt"], "msg": "unsafe", "type": "content_policy_violation"}]}',
         Rejected, "422: body.prompt: unsafe (content_policy_violation)"),
        (400, {}, b"\xff\xfe" + b"x" * 9000, Rejected, "400: "),
    ],
)  # fmt: skip
def test_what_an_answer_means(status: int, headers: dict[str, str], body: bytes, kind: type[CallFailed], said: str):
    with pytest.raises(kind) as failure:
        check_answer(status, headers, body, NOW)
    assert str(failure.value).startswith(said)
    assert len(str(failure.value)) < 600
    check_answer(200, headers, body, NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5), ("0.5", 0.5), ("-3", 0), ("100000", 3600), ("nan", None), ("inf", 3600), ("soon", None), ("", None),
        (None, None), ("Thu, 01 Jan 2026 00:01:00 GMT", 60), ("Thu, 01 Jan 2025 00:01:00 GMT", 0),
        ("Thu, 99 Jan 2026 00:01:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(text: str | None, seconds: float | None):
    assert retry_after_seconds(text, NOW) == seconds


def test_an_account_without_money_is_left_alone_for_minutes():
    with pytest.raises(Throttled) as failure:
        check_answer(429, {"retry-after": "1"}, b'{"error": {"code": "insufficient_quota"}}', NOW)
    assert failure.value.after_seconds == 300


def test_costs_are_prices_times_what_was_used():
    provider = ProviderSettings(
        type="openai", kinds=("image",), price_image=0.04, price_video=0.2, price_input=2.5, price_output=10
    )
    assert cost_of(Used(images=2), provider) == 0.08
    assert cost_of(Used(videos=1, input_tokens=1_000_000, output_tokens=100_000), provider) == pytest.approx(3.7)


def test_an_address_that_has_expired_is_no_refusal_of_what_was_made(tmp_path: Path):
    asked: list[str] = []

    def expired(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("authorization", "no key"))
        return httpx.Response(403, content=b"expired")

    ctx = context(tmp_path, provider=expired)
    account = Account("p", ProviderSettings(type="fal", kinds=("image",), model="m"))

    async def fetch() -> None:
        await fetched(ctx, account, "https://files.example/a.png", 1000, "image/")
        await ctx.services.close()

    with pytest.raises(Unusable, match="what it made cannot be fetched: 403: expired"):
        asyncio.run(fetch())
    assert asked == ["no key"]


def test_a_request_is_asked_about_seldom_while_its_end_is_far_and_closely_when_it_is_due():
    assert fal_queue.pause_seconds(0.0, 0.0) == fal_queue.SHORTEST_POLL_SECONDS
    assert fal_queue.pause_seconds(0.0, 2.0) == 1.5
    assert fal_queue.pause_seconds(1.5, 2.0) == fal_queue.SHORTEST_POLL_SECONDS
    assert fal_queue.pause_seconds(0.0, 120.0) == fal_queue.LONGEST_POLL_SECONDS
    assert fal_queue.pause_seconds(20.0, 2.0) == pytest.approx(0.8)  # it takes longer than usual
