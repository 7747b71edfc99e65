"""S3 behind a bad network: slow, cut and stalled connections leave whole objects or what was there before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from storage_relay import Relay, relay_to
from storage_settings import Named

from workerctl.contract import Unreachable
from workerctl.storage import Storage, open_storage, s3

BIG = bytes(range(256)) * 45_000  # 11 MB: two parts of a multipart upload
SMALL = BIG[: 2 * 1024 * 1024]


@pytest.fixture
def relay(s3: Named) -> Iterator[Relay]:
    with relay_to(s3.endpoint_url) as found:
        yield found


@pytest.fixture
def behind(relay: Relay, s3: Named, request: pytest.FixtureRequest) -> Storage:
    """A storage behind the relay."""
    prefix = f"network/{time.monotonic_ns()}"
    return open_storage(replace(s3, url=f"s3://jobs/{prefix}", endpoint_url=relay.url), Path("unused"))


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["one request", "parts"])
def test_a_slow_upload_arrives_whole(behind: Storage, relay: Relay, content: bytes):
    relay.pause_seconds = 0.005
    assert behind.put("a", content).size_bytes == len(content)
    relay.pause_seconds = 0
    assert behind.get("a") == content


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["one request", "parts"])
def test_an_upload_that_is_cut_once_is_sent_again_and_whole(behind: Storage, relay: Relay, content: bytes):
    relay.cuts, relay.cut_after_bytes = 1, 1_000_000
    behind.put("a", iter([content]))
    assert relay.cuts == 0 and relay.connections > 1
    assert behind.get("a") == content


@pytest.mark.parametrize("content", [SMALL, BIG], ids=["one request", "parts"])
def test_an_upload_that_is_always_cut_is_unreachable_and_leaves_what_was_there(
    behind: Storage, relay: Relay, content: bytes
):
    behind.put("a", b"before")
    relay.cuts, relay.cut_after_bytes = 10**6, 500_000
    with pytest.raises(Unreachable, match=r"storage 127\.0\.0\.1:\d+/jobs does not answer"):
        behind.put("a", content)
    relay.cuts = 0
    assert behind.get("a") == b"before"
    assert [entry.key for entry in behind.list()] == ["a"]


def test_a_connection_that_takes_no_more_bytes_is_given_up(
    behind: Storage, relay: Relay, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(s3, "CONNECT_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(s3, "READ_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(s3, "ATTEMPTS", 2)
    behind.put("a", b"before")
    relay.stalled = True
    with pytest.raises(Unreachable, match="does not answer"):
        behind.put("a", BIG)
    relay.stalled = False
    assert behind.get("a") == b"before"


def test_a_download_that_is_cut_is_never_taken_for_whole(behind: Storage, relay: Relay):
    behind.put("a", BIG)
    relay.cuts, relay.cut_after_bytes, relay.cuts_answers = 10**6, 3_000_000, True
    with pytest.raises(Unreachable):
        behind.get("a")
    with pytest.raises(Unreachable), behind.open("a") as stream:
        while stream.read(65536):
            pass
