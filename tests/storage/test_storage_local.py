"""What local files promise beyond the interface: modes, durability, addresses."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from storage_settings import Named

from workerctl.contract import Unreachable, Unusable
from workerctl.settings import Settings
from workerctl.storage import InvalidKey, open_storage
from workerctl.storage.local import LocalStorage


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_folders_are_their_owners_alone(tmp_path: Path):
    before = os.umask(0)
    try:
        LocalStorage(tmp_path / "storage").put("a/b/c.txt", b"")
    finally:
        os.umask(before)
    assert mode(tmp_path / "storage/a/b/c.txt") == 0o600
    assert {mode(tmp_path / name) for name in ("storage", "storage/a", "storage/a/b", "storage/.tmp")} == {0o700}


def test_nothing_is_made_before_it_is_needed(tmp_path: Path):
    storage = open_storage(Named(), tmp_path)
    assert not storage.exists("a")
    assert list(storage.list()) == []
    storage.delete("a")
    assert list(tmp_path.iterdir()) == []


def test_the_home_or_a_folder_holds_the_objects(tmp_path: Path):
    open_storage(Named(url="file:"), tmp_path / "home").put("a", b"1")
    open_storage(Named(url=f"file://{tmp_path}/my%20folder"), tmp_path / "home").put("a", b"2")
    assert (tmp_path / "home/storage/a").read_bytes() == b"1"
    assert (tmp_path / "my folder/a").read_bytes() == b"2"


@pytest.mark.parametrize(
    "url", ["", "storage", "file:relative", "file://host/folder", "http://a/b", "s3:", "s3://", "S4://a"]
)
def test_another_address_is_unusable_and_says_which_are_not(url: str, tmp_path: Path):
    with pytest.raises(Unusable, match=r"none of \"file:\", \"file:///folder\" and \"s3://bucket/prefix\""):
        open_storage(Named(url=url), tmp_path)


def test_a_writer_that_is_killed_leaves_the_object_as_it_was(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    storage.put("a", b"before")
    program = (
        "import os, sys; from pathlib import Path; from workerctl.storage.local import LocalStorage\n"
        "class Dies:\n"
        "    sent = 0\n"
        "    def read(self, size):\n"
        "        self.sent += 1\n"
        "        if self.sent == 3: os.kill(os.getpid(), 9)\n"
        "        return b'x' * size\n"
        "LocalStorage(Path(sys.argv[1])).put('a', Dies())\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    assert storage.get("a") == b"before"
    assert [entry.key for entry in storage.list()] == ["a"]


def test_a_key_below_an_object_or_above_others_is_refused(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    storage.put("a", b"")
    storage.put("b/c", b"")
    for key in ("a/b", "b"):
        with pytest.raises(InvalidKey, match=f"'{key}' is a folder of other keys, or lies below another object"):
            storage.put(key, b"")
    assert [entry.key for entry in storage.list()] == ["a", "b/c"]


def test_a_folder_that_refuses_is_unreachable(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((Unreachable, InvalidKey)):
        LocalStorage(tmp_path / "file").put("a", b"")
    with pytest.raises(Unreachable, match=r"storage /proc/nothing (failed at 'a'|refuses)"):
        LocalStorage(Path("/proc/nothing")).put("a", b"")


def test_a_listing_goes_by_the_bytes_of_keys_and_leaves_out_what_is_not_whole(tmp_path: Path):
    storage = LocalStorage(tmp_path)
    keys = ["a-b", "a/b", "a0", "b", "章/一", "章/二"]
    for key in reversed(keys):
        storage.put(key, b"")
    (tmp_path / ".tmp" / "leftover").write_bytes(b"half")
    assert [entry.key for entry in storage.list()] == sorted(keys, key=str.encode)


def test_addresses_are_files_or_public(tmp_path: Path):
    storage = open_storage(Named(), tmp_path)
    storage.put("图/a b.png", b"1")
    assert storage.url("图/a b.png") == (tmp_path / "storage/图/a b.png").as_uri()
    public = open_storage(replace(Named(), public_url="https://cdn.example/x/"), tmp_path)
    assert public.url("图/a b.png") == "https://cdn.example/x/%E5%9B%BE/a%20b.png"


def test_local_storage_imports_no_boto3():
    program = (
        "import sys; from pathlib import Path; import workerctl.storage as s\n"
        "from types import SimpleNamespace as N\n"
        "s.open_storage(N(url='file:', public_url=None), Path('/tmp')).exists('a')\n"
        "print([m for m in ('boto3', 'botocore') if m in sys.modules])\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"


def test_the_settings_of_a_project_open_it(tmp_path: Path):
    storage = open_storage(Settings().storage, tmp_path)
    assert storage.put("a", b"1").size_bytes == 1
    assert (tmp_path / "storage/a").exists()
