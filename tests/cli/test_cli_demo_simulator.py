"""`workerctl demo --provider simulator`: the pictures come from the simulated provider, and the bill is told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

WORKERCTL = Path(sys.executable).parent / "workerctl"


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return subprocess.run([WORKERCTL, "demo", *arguments], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=120, check=False)  # fmt: skip


def longest_side(path: Path) -> int:
    with Image.open(path) as image:
        image.load()
        return max(image.size)


def test_the_pictures_come_from_the_simulated_provider_and_the_bill_is_told(tmp_path: Path) -> None:
    done = demo(tmp_path, "--provider", "simulator", "--images", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 images" in done.stdout
    assert "rendered by simulator" in done.stdout
    assert "4 pictures paid, $0.17" in done.stdout
    keys = re.findall(r"images/\S+\.png", done.stdout)
    assert len(set(keys)) == 4
    assert {longest_side(tmp_path / ".workerctl" / "storage" / key) for key in keys} == {512}


def test_a_novel_is_not_for_the_simulated_provider(tmp_path: Path) -> None:
    assert demo(tmp_path, "--provider", "simulator", "--novel", "x.txt").returncode == 2
