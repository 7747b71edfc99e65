"""What local files and S3 promise alike, asked of both."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from workerctl.storage import InvalidKey, ObjectMissing, ObjectTooLarge, Storage

BIG = bytes(range(256)) * 80_000  # 20 MB: three parts of a multipart upload


class Trickle(io.RawIOBase):
    """A stream that gives a little at a time, as sockets do, and may break off."""

    def __init__(self, content: bytes, *, breaks: bool = False) -> None:
        self._rest = io.BytesIO(content)
        self._breaks = breaks

    def read(self, size: int = -1) -> bytes:
        block = self._rest.read(min(size, 700_001))
        if not block and self._breaks:
            raise RuntimeError("the sender is gone")
        return block


def blocks_of(content: bytes, *, breaks: bool = False) -> Iterator[bytes]:
    """As a download gives them, empty ones between."""
    for start in range(0, len(content), 300_007):
        yield from (content[start : start + 300_007], b"")
    if breaks:
        raise RuntimeError("the sender is gone")


def test_what_is_put_is_got_back(storage: Storage):
    stored = storage.put("小说/第一回.txt", "滚滚长江东逝水".encode(), content_type="text/plain; charset=utf-8")
    assert storage.get("小说/第一回.txt").decode() == "滚滚长江东逝水"
    assert stored.key == "小说/第一回.txt"
    assert stored.size_bytes == 21
    assert stored.sha256 == hashlib.sha256("滚滚长江东逝水".encode()).hexdigest()
    assert stored.content_type == "text/plain; charset=utf-8"


def test_an_empty_object_is_an_object(storage: Storage):
    assert storage.put("empty", b"").size_bytes == 0
    assert storage.exists("empty")
    assert storage.get("empty") == b""


def test_a_second_put_replaces_the_first(storage: Storage):
    storage.put("a", b"first")
    storage.put("a", b"second")
    assert storage.get("a") == b"second"


@pytest.mark.parametrize("form", ["bytes", "file", "stream", "blocks"])
def test_big_content_arrives_whole_in_every_form(storage: Storage, form: str, tmp_path: Path):
    file = tmp_path / "big.bin"
    file.write_bytes(BIG)
    content = {"bytes": BIG, "file": file, "stream": Trickle(BIG), "blocks": blocks_of(BIG)}[form]
    stored = storage.put("big", content)  # type: ignore[arg-type]
    assert (stored.size_bytes, stored.sha256) == (len(BIG), hashlib.sha256(BIG).hexdigest())
    assert storage.get("big") == BIG


@pytest.mark.parametrize("size", [3, len(BIG)])
def test_a_stream_that_breaks_off_leaves_what_was_there(storage: Storage, size: int):
    storage.put("a", b"before")
    with pytest.raises(RuntimeError, match="the sender is gone"):
        storage.put("a", Trickle(BIG[:size], breaks=True))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="the sender is gone"):
        storage.put("a", blocks_of(BIG[:size], breaks=True))
    assert storage.get("a") == b"before"
    assert [entry.key for entry in storage.list()] == ["a"]


def test_an_object_over_the_limit_is_refused_unread(storage: Storage):
    storage.put("a", b"0123456789")
    assert storage.get("a", limit_bytes=10) == b"0123456789"
    with pytest.raises(ObjectTooLarge, match="10 bytes; at most 9"):
        storage.get("a", limit_bytes=9)


def test_an_object_can_be_read_piece_by_piece(storage: Storage):
    storage.put("a", b"0123456789")
    with storage.open("a") as stream:
        assert stream.read(4) == b"0123"
        assert stream.read() == b"456789"


def test_what_is_missing_is_said_with_its_key(storage: Storage):
    with pytest.raises(ObjectMissing, match="no object 'a/b'"):
        storage.get("a/b")
    with pytest.raises(ObjectMissing), storage.open("a/b"):
        pass
    assert not storage.exists("a/b")


def test_a_prefix_is_no_object(storage: Storage):
    storage.put("a/b", b"")
    assert not storage.exists("a")
    with pytest.raises(ObjectMissing):
        storage.get("a")


def test_delete_removes_and_may_be_repeated(storage: Storage):
    storage.put("a/b", b"")
    storage.delete("a/b")
    storage.delete("a/b")
    assert not storage.exists("a/b")


def test_list_gives_keys_by_prefix_with_sizes(storage: Storage):
    for key in ("images/aa/1", "images/ab/22", "images-old/3", "text/4"):
        storage.put(key, key[-1].encode() * int(key[-1]))
    assert sorted((entry.key, entry.size_bytes) for entry in storage.list("images/")) == [
        ("images/aa/1", 1),
        ("images/ab/22", 2),
    ]
    assert len(list(storage.list("images"))) == 3
    assert len(list(storage.list("images/a"))) == 2
    assert len(list(storage.list())) == 4
    assert list(storage.list("nothing/")) == []


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "a\0b", "a\nb", "a\\b", "\ud800",
     "x" * 256, "é" * 128, "/".join(["abc"] * 129), ".tmp/a"],
)  # fmt: skip
def test_keys_that_not_every_storage_could_hold_are_refused(storage: Storage, key: str):
    for use in (storage.get, storage.exists, storage.delete, storage.open, storage.url):
        with pytest.raises(InvalidKey):
            use(key)
    with pytest.raises(InvalidKey):
        storage.put(key, b"")


@pytest.mark.parametrize("key", ["a b&c=d?e#f%20+.txt", "章/节", "x" * 255, "a..b/..c/d..", "-/--"])
def test_odd_keys_are_kept_as_they_are(storage: Storage, key: str):
    storage.put(key, b"1")
    assert [entry.key for entry in storage.list()] == [key]
    assert storage.get(key) == b"1"


def test_many_threads_may_write_the_same_and_other_objects(storage: Storage):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: storage.put(f"many/{n % 5}", str(n % 5).encode() * 1000), range(60)))
    assert {entry.key: entry.size_bytes for entry in storage.list("many/")} == {f"many/{n}": 1000 for n in range(5)}
