"""What a home keeps survives a power cut and a full disk: in which order it is synced, and what is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from toy_house import House, until

from workerctl.supervisor.state import load_desired, load_parked

# Writes down what is synced, how large it was then, and what is renamed, in order: what a power cut would find.
WITNESS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(const char *word, const char *path, long size) {
    char line[2100];
    FILE *file = fopen(getenv("TEST_WITNESS"), "ae");
    if (!file) return;
    fprintf(file, "%s %s %ld\n", word, path, size);
    fclose(file);
}
static int noted(const char *name, int fd) {
    char link[40], path[2000] = "";
    struct stat found;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) < 0 || fstat(fd, &found)) return -1;
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    int result = real(fd);
    if (result == 0) note("sync", path, S_ISDIR(found.st_mode) ? 0 : (long) found.st_size);
    return result;
}
int fsync(int fd) { return noted("fsync", fd); }
int fdatasync(int fd) { return noted("fdatasync", fd); }
int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    int result = real(from, to);
    if (result == 0) note("rename", to, 0);
    return result;
}
"""


@pytest.fixture
def witness(tmp_path: Path) -> dict[str, str]:
    """The environment in which a process's syncs and renames are written to the file `witness`."""
    if shutil.which("cc") is None:
        pytest.skip("a C compiler is missing: apt-get install --no-install-recommends gcc libc6-dev")
    source, library = tmp_path / "witness.c", tmp_path / "witness.so"
    source.write_text(WITNESS)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "TEST_WITNESS": str(tmp_path / "witness")}


def durable(witness: dict[str, str], path: Path) -> list[str]:
    """What happened to this file, its temporary file and its folder, in order."""
    lines = [line.rsplit(" ", 1) for line in Path(witness["TEST_WITNESS"]).read_text().splitlines()]
    found = []
    for what, size in lines:
        word, name = what.split(" ", 1)
        if Path(name) == path.parent:
            found.append(f"{word} folder")
        elif Path(name).name.startswith(f".{path.name}."):
            found.append(f"{word} {size} bytes")
        elif Path(name) == path:
            found.append(f"{word} to its name")
    return found


def test_counts_are_on_the_disk_before_scale_is_answered(house: House, witness: dict[str, str]) -> None:
    house.start(*house.workers(1), environment=witness)
    house.until_ready(1)
    house.ask("scale", pool="default", to=2)
    path = house.home / "state" / "desired.toml"
    assert load_desired(house.home) == {"default": 2}
    size = path.stat().st_size
    assert durable(witness, path) == [f"sync {size} bytes", "rename to its name", "sync folder"]


def test_slots_that_are_given_up_are_on_the_disk(tmp_path: Path, witness: dict[str, str]) -> None:
    (tmp_path / "state").mkdir()
    program = "import sys; from pathlib import Path; from workerctl.supervisor.state import save_parked as save\n"
    program += f"save(Path({str(tmp_path)!r}), [('default', 1)])"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | witness)
    path = tmp_path / "state" / "parked.json"
    assert load_parked(tmp_path) == {("default", 1)}
    assert durable(witness, path) == [f"sync {path.stat().st_size} bytes", "rename to its name", "sync folder"]


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 kB over the folder; a file on it that fills it when it is written to its end."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    folder.mkdir(parents=True, exist_ok=True)
    mounted = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "small", folder]
    if (done := subprocess.run(mounted, capture_output=True, text=True, check=False)).returncode:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    try:
        yield folder / "ballast"
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(ballast: Path) -> None:
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def replace_one(house: House, victim: int) -> None:
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in house.pids(), explain=house.log)
    house.ask("reset", name="default")


def test_a_full_disk_costs_a_record_and_is_told_and_no_worker(house: House) -> None:
    with small_disk(house.home / "state") as ballast:
        history = house.home / "state" / "exits.jsonl"
        history.write_text(json.dumps({"group": "default", "message": "x" * 3900}) + "\n")  # its block is all but full
        house.start(*house.workers(1))
        house.until_ready(1)
        assert house.ask("scale", pool="default", to=2).get("note") is None
        house.until_ready(2)
        fill(ballast)
        note = house.ask("scale", pool="default", to=3)["note"]
        assert "No space left on device" in note and str(house.home) in note
        assert len(house.facts("NotPersisted")) == 1
        house.until_ready(3)
        assert load_desired(house.home) == {"default": 2}, "the old counts, whole"
        replace_one(house, house.until_ready(3)[0])
        ballast.unlink()
        before = len(house.exits())  # every line that is there can be read
        assert house.ask("scale", pool="default", to=1).get("note") is None
        house.until_ready(1)
        until(lambda: len(house.exits()) == before + 2, explain=house.log)
        assert sorted(path.name for path in ballast.parent.iterdir()) == ["desired.toml", "exits.jsonl"]
        assert house.stop() == 0
