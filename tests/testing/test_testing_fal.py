"""The simulator's fal.ai side, asked by the official client and by raw HTTP."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import fal_client
import httpx
import pytest
from PIL import Image

from workerctl.testing.simulator import Fault, FaultKind, Simulator

FLUX = "fal-ai/flux/dev"
WAIT_SECONDS = 5.0


@contextmanager
def asking(provider, monkeypatch) -> Iterator[fal_client.SyncClient]:
    """The official client; it has https://queue.fal.run written into it, and no method to close it."""
    monkeypatch.setattr("fal_client.client.QUEUE_URL_FORMAT", provider.base_url + "/")
    client = fal_client.SyncClient(key=provider.key, default_timeout=5)
    try:
        yield client
    finally:
        client._client.close()


def http(provider) -> httpx.Client:
    return httpx.Client(base_url=provider.base_url, headers={"Authorization": f"Key {provider.key}"}, timeout=2)


def until_complete(client, submitted):
    deadline = time.monotonic() + WAIT_SECONDS
    while (status := client.get(submitted["status_url"])).status_code != 200:
        assert status.status_code == 202
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return status.json()


def test_the_official_client_subscribes_and_fetches(monkeypatch):
    with Simulator(latency=0.05) as provider, asking(provider, monkeypatch) as client:
        seen = []
        result = client.subscribe(
            FLUX, {"prompt": "a boat", "image_size": {"width": 320, "height": 256}, "num_images": 2, "seed": 4},
            with_logs=True, on_queue_update=seen.append,
        )  # fmt: skip
        assert isinstance(seen[-1], fal_client.Completed)
        assert seen[-1].logs[-1]["message"] == "100% done"
        assert result["seed"] == 4
        for image in result["images"]:
            assert Image.open(io.BytesIO(httpx.get(image["url"]).content)).size == (320, 256)
        (entry,) = provider.paid
        assert (entry.outcome, entry.images, entry.deliveries) == ("delivered", 2, 1)


def test_the_official_client_comes_back_to_a_request_by_its_id(monkeypatch):
    with Simulator(latency=0.1) as provider, asking(provider, monkeypatch) as client:
        request_id = client.submit(FLUX, {"prompt": "a boat"}).request_id
        assert client.get_handle(FLUX, request_id).get()["prompt"] == "a boat"
        assert len(provider.ledger.entries) == 1


def test_the_official_client_cancels_and_hears_errors(monkeypatch):
    with Simulator(latency=30, runners=1) as provider, asking(provider, monkeypatch) as client:
        running, waiting = (client.submit(FLUX, {"prompt": "a boat"}) for _ in range(2))
        assert isinstance(running.status(), fal_client.InProgress)
        assert waiting.status() == fal_client.Queued(position=0)
        waiting.cancel()
        running.cancel()
        assert waiting.status().error_type == "client_cancelled"
        assert [(entry.paid, entry.outcome) for entry in provider.ledger.entries] == [
            (True, "working"),
            (False, "cancelled"),
        ]
        with pytest.raises(fal_client.FalClientHTTPError) as gone:
            running.get()
        assert gone.value.status_code == 499
        with pytest.raises(fal_client.FalClientHTTPError, match="not found"):
            client.submit("fal-ai/no-such", {})


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body", "prompt"]),
        ({"prompt": "a", "colour": "red"}, ["body", "colour"]),
        ({"prompt": "a", "num_images": "2"}, ["body", "num_images"]),
        ({"prompt": "a", "image_size": {"width": 0}}, ["body", "image_size", "width"]),
    ],
)
def test_a_wrong_input_is_accepted_and_fails_at_its_result(body, loc):
    with Simulator() as provider, http(provider) as client:
        submitted = client.post(f"/{FLUX}", json=body).json()
        assert until_complete(client, submitted)["error_type"] == "input_value_error"
        answer = client.get(submitted["response_url"])
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, loc)
        assert not provider.paid


def test_a_refusal_comes_with_the_result_and_costs_nothing():
    with Simulator(script=[Fault(FaultKind.REFUSED)]) as provider, http(provider) as client:
        submitted = client.post(f"/{FLUX}", json={"prompt": "a secret"}).json()
        until_complete(client, submitted)
        answer = client.get(submitted["response_url"])
        assert (answer.status_code, answer.json()["detail"][0]["type"]) == (422, "content_policy_violation")
        assert [entry.outcome for entry in provider.ledger.entries] == ["refused"]


def test_what_is_asked_too_early_or_of_nobody():
    with Simulator(latency=30) as provider, http(provider) as client:
        submitted = client.post(f"/{FLUX}", json={"prompt": "a"}).json()
        assert client.get(submitted["response_url"]).status_code == 400
        assert client.get("/fal-ai/flux/requests/none/status").status_code == 404
        assert client.put("/fal-ai/flux/requests/none/cancel").json() == {"status": "NOT_FOUND"}
        assert client.get(submitted["status_url"] + "?logs=maybe").status_code == 422
        assert client.post(f"/{FLUX}", content=b"{").status_code == 422
        assert httpx.get(submitted["status_url"]).status_code == 401


def test_a_status_may_be_older_than_the_one_before():
    with Simulator() as provider, http(provider) as client:
        submitted = client.post(f"/{FLUX}", json={"prompt": "a"}).json()
        until_complete(client, submitted)
        provider.faults.add(Fault(FaultKind.OUT_OF_ORDER))
        assert client.get(submitted["status_url"]).json()["status"] == "IN_PROGRESS"
        assert client.get(submitted["status_url"]).json()["status"] == "COMPLETED"


def test_a_webhook_may_come_twice():
    heard: list[dict] = []
    twice = threading.Event()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            if len(heard) == 2:
                twice.set()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    listening = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    listening.start()
    try:
        with Simulator(script=[Fault(FaultKind.DUPLICATE)]) as provider, http(provider) as client:
            hook = f"http://127.0.0.1:{server.server_address[1]}/hook"
            submitted = client.post(f"/{FLUX}", json={"prompt": "a"}, params={"fal_webhook": hook}).json()
            assert twice.wait(WAIT_SECONDS)
            assert heard[0] == heard[1]
            assert (heard[0]["request_id"], heard[0]["status"]) == (submitted["request_id"], "OK")
            assert httpx.get(heard[0]["payload"]["images"][0]["url"]).headers["content-type"] == "image/jpeg"
            far = client.post(f"/{FLUX}", json={"prompt": "a"}, params={"fal_webhook": "http://192.0.2.1/"})
            assert far.status_code == 422
    finally:
        server.shutdown()
        server.server_close()
        listening.join()


def test_a_video_is_an_mp4_of_jpeg_frames():
    with Simulator() as provider, http(provider) as client:
        submitted = client.post("/fal-ai/ltx-video", json={"prompt": "waves"}).json()
        until_complete(client, submitted)
        content = httpx.get(client.get(submitted["response_url"]).json()["video"]["url"]).content
    assert content[4:12] == b"ftypisom"
    first = content.index(b"mdat") + 4
    assert Image.open(io.BytesIO(content[first:])).size == (320, 180)
