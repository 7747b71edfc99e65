"""video.generate, and the discipline of fal.ai's queue: a request is submitted once, whatever becomes of the worker."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from typing import Any

import pytest
from PIL import Image

from workerctl.handler import Cancel, Context, InvalidPayload
from workerctl.jobs.providers import fal_queue
from workerctl.storage import Storage
from workerctl.testing.simulator import Fault, FaultKind, Simulator

K = FaultKind
PROMPT = {"prompt": "a boat passes burning ships"}


def fal(provider: Simulator, more: str = "") -> str:
    return f"""
[providers.films]
type = "fal"
kinds = ["video"]
base_url = "{provider.base_url}"
model = "fal-ai/kling-video/v1.6/standard/text-to-video"
price_video = 0.225
read_timeout = "1s"
{more}
"""


def test_a_video_is_stored_by_its_content_with_its_first_frame(desk: Any, provider: Simulator, storage: Storage):
    at = desk(fal(provider))
    job = at.run("video.generate", PROMPT | {"options": {"duration": "5", "aspect_ratio": "16:9"}})
    assert job["status"] == "succeeded", job["error"]
    result = job["result"]
    content = storage.get(result["key"])
    sha256 = hashlib.sha256(content).hexdigest()
    assert result["key"] == f"videos/{sha256[:2]}/{sha256}.mp4"
    assert (result["bytes"], result["format"], result["provider"]) == (len(content), "mp4", "films")
    with Image.open(io.BytesIO(storage.get(result["poster"]))) as frame:
        assert frame.size == (result["width"], result["height"]) == (320, 180)
    with Image.open(io.BytesIO(storage.get(result["thumbnail"]))) as small:
        assert small.size == (256, 144)
    assert at.spend() == [("paid", 0.225)]
    assert len(provider.paid) == 1


@pytest.mark.parametrize("options", [{"prompt": "x"}, {f"o{n}": 1 for n in range(21)}, {"a b": 1}, {"a": [1]}])
def test_options_that_cannot_be_are_refused(desk: Any, options: dict[str, Any]):
    with pytest.raises(InvalidPayload, match=r"\$\.options"):
        desk("").enqueue("video.generate", PROMPT | {"options": options})


def test_progress_is_the_place_in_the_providers_queue(desk: Any, simulate: Any, monkeypatch: pytest.MonkeyPatch):
    provider = simulate(latency=0.4, runners=1)
    at = desk(fal(provider))
    seen: list[tuple[int, int]] = []

    def note(self: Context, done: int, total: int) -> None:
        seen.append((done, total))

    monkeypatch.setattr(Context, "progress", note)
    others = [at.enqueue("video.generate", {"prompt": f"other {number}"}) for number in range(2)]
    for job_id in others:  # they are submitted, and nobody waits for them
        at.stop = lambda context, task: asyncio.get_running_loop().create_task(leave(context, task, None))
        at.attempt(job_id)
    at.stop = None
    assert at.run("video.generate", PROMPT)["status"] == "succeeded"
    assert seen[-1][0] == seen[-1][1] - 1
    assert [done / total for done, total in seen[-5:]] == sorted(done / total for done, total in seen[-5:])
    assert len(provider.paid) == 3


async def leave(context: Context, task: asyncio.Task[Any], reason: BaseException | None) -> None:
    """Stop the attempt once its request is remembered: its worker leaves, or somebody cancels."""
    while await asyncio.to_thread(context.remembered, "request video") is None:
        await asyncio.sleep(0.01)
    context.stop_reason = reason
    task.cancel()


def test_an_attempt_that_follows_goes_on_with_the_same_request(desk: Any, simulate: Any):
    provider = simulate(latency=1.0)
    at = desk(fal(provider))
    job_id = at.enqueue("video.generate", PROMPT)
    at.stop = lambda context, task: asyncio.get_running_loop().create_task(leave(context, task, None))
    at.attempt(job_id)
    assert [state for state, _ in at.spend()] == ["in flight"]
    at.stop = None
    assert at.attempt(job_id)["status"] == "succeeded"
    assert len(provider.ledger.entries) == 1
    assert [state for state, _ in at.spend()] == ["paid"]


def test_a_cancelled_job_cancels_its_request_and_costs_nothing_in_the_queue(desk: Any, simulate: Any):
    provider = simulate(latency=2.0, runners=1)
    at = desk(fal(provider))
    at.stop = lambda context, task: asyncio.get_running_loop().create_task(leave(context, task, None))
    at.attempt(at.enqueue("video.generate", {"prompt": "takes the only runner"}))
    cancelled = Cancel("cancelled by request")
    at.stop = lambda context, task: asyncio.get_running_loop().create_task(leave(context, task, cancelled))
    job = at.run("video.generate", PROMPT)
    assert job["status"] == "cancelled"
    assert provider.ledger.entries[1].outcome == "cancelled"
    assert [state for state, _ in at.spend()] == ["in flight"]


def test_an_attempt_whose_time_ends_comes_back_without_a_failure(desk: Any, simulate: Any):
    provider = simulate(latency=1.0)
    at = desk(fal(provider))
    at.stop = lambda context, _: setattr(context, "deadline", time.monotonic() + fal_queue.LEFT_SECONDS + 0.4)
    job = at.run("video.generate", PROMPT)
    assert (job["status"], job["failures"]) == ("pending", 0)
    assert "still works on request" in job["error"]
    at.stop = None
    assert at.attempt(job["id"])["status"] == "succeeded"
    assert len(provider.ledger.entries) == 1


def test_a_request_that_failed_is_forgotten_so_that_a_retry_submits_another(desk: Any, provider: Simulator):
    at = desk(fal(provider))
    provider.faults.add(Fault(K.REFUSED, operation="submit"))
    job = at.run("video.generate", PROMPT)
    assert job["status"] == "dead"
    assert "content" in job["error"]
    at.queue.execute("SELECT workerctl.retry(%s)", [job["id"]])
    assert at.attempt(job["id"])["status"] == "succeeded"
    assert (len(provider.ledger.entries), len(provider.paid)) == (2, 1)


def test_an_address_elsewhere_never_gets_our_key(desk: Any, provider: Simulator, monkeypatch: pytest.MonkeyPatch):
    at = desk(fal(provider))
    monkeypatch.setattr(fal_queue, "_origin", lambda url: url if "requests" in url else "ours")
    job = at.run("video.generate", PROMPT)
    assert job["status"] == "dead"
    assert "no key goes there" in job["error"]


def test_a_video_cut_in_the_middle_is_fetched_again(desk: Any, provider: Simulator):
    at = desk(fal(provider))
    provider.faults.add(Fault(K.HALF_BODY, operation="file"), Fault(K.WRONG_TYPE, operation="file"))
    job = at.run("video.generate", PROMPT)
    assert job["status"] == "succeeded", job["error"]
    assert len(provider.paid) == 1
