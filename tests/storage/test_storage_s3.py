"""What S3 promises beyond the interface, asked of a real server: signatures, expiry, errors, whole uploads."""

from __future__ import annotations

import io
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from storage_settings import Named

from workerctl.contract import Exit, Unreachable, Unusable
from workerctl.storage import Storage, open_storage
from workerctl.storage.s3 import PART_BYTES, S3Storage

HOME = Path("unused")


def client_of(storage: Storage) -> Any:
    assert isinstance(storage, S3Storage)
    return storage._client()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def test_a_signed_address_gives_the_object_until_it_expires(s3_storage: Storage):
    s3_storage.put("图/a b.png", b"picture")
    url = s3_storage.url("图/a b.png", expires_seconds=1)
    assert fetch(url) == b"picture"
    deadline = time.monotonic() + 10
    while True:
        try:
            fetch(url)
        except urllib.error.HTTPError as error:
            assert error.code == 403
            error.close()
            break
        assert time.monotonic() < deadline, "the address never expired"
        time.sleep(0.1)


def test_a_signed_address_serves_no_other_key(s3_storage: Storage):
    s3_storage.put("a", b"1")
    s3_storage.put("b", b"2")
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        fetch(s3_storage.url("a").replace("/a?", "/b?"))
    refused.value.close()


def test_a_public_address_is_below_the_public_url_with_its_prefix(s3: Named):
    storage = open_storage(replace(s3, url="s3://jobs/pictures/", public_url="https://cdn.example/"), HOME)
    assert storage.url("图/a b.png") == "https://cdn.example/pictures/%E5%9B%BE/a%20b.png"


def test_prefixes_keep_storages_of_one_bucket_apart(s3: Named):
    one, other = (open_storage(replace(s3, url=f"s3://jobs/apart/{name}"), HOME) for name in ("one", "other"))
    one.put("a", b"1")
    assert not other.exists("a")
    assert [entry.key for entry in one.list()] == ["a"]
    assert [entry.key for entry in open_storage(s3, HOME).list("apart/")] == ["apart/one/a"]


def test_the_content_type_is_kept(s3_storage: Storage):
    s3_storage.put("small", b"1", content_type="image/png")
    s3_storage.put("big", io.BytesIO(bytes(PART_BYTES + 1)), content_type="image/webp")
    for key, content_type in (("small", "image/png"), ("big", "image/webp")):
        assert client_of(s3_storage).head_object(**s3_storage._place(key))["ContentType"] == content_type  # type: ignore[attr-defined]


def test_a_listing_has_every_page(s3_storage: Storage):
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda n: s3_storage.put(f"many/{n:04}", b""), range(1050)))
    assert [entry.key for entry in s3_storage.list("many/")] == [f"many/{n:04}" for n in range(1050)]


@pytest.mark.parametrize("size", [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES])
def test_sizes_around_a_part_arrive_whole(s3_storage: Storage, size: int):
    content = bytes(range(256)) * (size // 256 + 1)
    stored = s3_storage.put("a", content[:size])
    assert stored.size_bytes == size
    assert s3_storage.get("a") == content[:size]


def test_a_broken_multipart_upload_is_aborted(s3_storage: Storage):
    class Breaks(io.RawIOBase):
        sent = 0

        def read(self, size: int = -1) -> bytes:
            self.sent += size
            if self.sent > 2 * PART_BYTES:
                raise RuntimeError("the sender is gone")
            return bytes(size)

    with pytest.raises(RuntimeError, match="the sender is gone"):
        s3_storage.put("a", Breaks())  # type: ignore[arg-type]
    place = s3_storage._place("a")  # type: ignore[attr-defined]
    uploads = client_of(s3_storage).list_multipart_uploads(Bucket=place["Bucket"], Prefix=place["Key"])
    assert uploads.get("Uploads", []) == []
    assert not s3_storage.exists("a")


def test_content_damaged_on_the_way_is_refused_by_the_server(s3_storage: Storage):
    client = client_of(s3_storage)

    def damage(request: Any, **_: Any) -> None:
        request.body = b"damaged!"

    client.meta.events.register_last("before-send.s3.PutObject", damage)
    try:
        with pytest.raises((Unreachable, Unusable)):
            s3_storage.put("a", b"original")
    finally:
        client.meta.events.unregister("before-send.s3.PutObject", damage)
    assert not s3_storage.exists("a")


def test_one_client_serves_every_thread(s3: Named):
    storage = open_storage(s3, HOME)
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: id(client_of(storage)), range(32)))) == 1


@pytest.mark.parametrize("wrong", [{"secret_access_key": "wrong"}, {"access_key_id": "nobody"}], ids=["secret", "key"])
def test_wrong_credentials_are_unusable_and_never_shown(s3: Named, wrong: dict[str, str]):
    storage = open_storage(replace(s3, **wrong), HOME)
    with pytest.raises(Unusable, match="refuses the credentials") as refused:
        storage.put("a", b"")
    assert refused.value.exit_code == Exit.UNUSABLE
    assert not any(secret in str(refused.value) for secret in (s3.secret_access_key, *wrong.values()))
    with pytest.raises(Unusable):
        storage.exists("a")
    with pytest.raises(Unusable):
        list(storage.list())


def test_a_bucket_that_is_not_there_is_unusable(s3: Named):
    storage = open_storage(replace(s3, url="s3://nosuchbucket"), HOME)
    with pytest.raises(Unusable, match="there is no bucket 'nosuchbucket'"):
        storage.get("a")


def test_a_server_that_does_not_answer_is_unreachable(s3: Named):
    storage = open_storage(replace(s3, endpoint_url="http://127.0.0.1:1"), HOME)
    with pytest.raises(Unreachable, match=r"storage 127.0.0.1:1/jobs does not answer") as unreachable:
        storage.put("a", b"")
    assert unreachable.value.exit_code == Exit.UNREACHABLE


def test_an_endpoint_that_is_no_url_is_unusable(s3: Named):
    with pytest.raises(Unusable, match=r"storage\.endpoint_url = 'nonsense'"):
        open_storage(replace(s3, endpoint_url="nonsense"), HOME).get("a")


def test_missing_credentials_say_which_variables_to_set(s3: Named, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name, value in {
        "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "none",
        "AWS_CONFIG_FILE": tmp_path / "none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, str(value))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    storage = open_storage(replace(s3, access_key_id=None, secret_access_key=None), HOME)
    with pytest.raises(Unusable, match="set R2_ACCESS_KEY_ID"):
        storage.get("a")
