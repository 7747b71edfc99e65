"""What users install: a wheel built from this tree has every file, and every module in it imports."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Each module in a fork of an interpreter that has imported nothing of ours: an import cycle depends on who is first.
# What is not ours is imported before, once.
IMPORT_EACH = """
import os, sys, traceback
import boto3, botocore.session, httpx, msgspec, PIL.Image, psutil, psycopg, rich.console, rich.table, typer
failed = []
for name in sys.argv[1:]:
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            __import__(name)
        except BaseException as error:
            print(name, *traceback.format_exception_only(error))
            sys.stdout.flush()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        failed.append(name)
import workerctl
print(workerctl.__file__)
sys.exit(1 if failed else 0)
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The content of the wheel, built from a copy: building leaves folders in its source tree."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "workerctl").symlink_to("src")
    wheels = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps", "-w", wheels, source]
    built = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    content = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(next(wheels.glob("workerctl-*.whl"))) as wheel:
        wheel.extractall(content)
    return content


def files_in(package):
    return {
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def test_the_wheel_has_every_file_of_the_package(unpacked):
    assert files_in(unpacked / "workerctl") == files_in(ROOT / "src")


def test_the_wheel_has_nothing_beside_the_package(unpacked):
    assert {path.name.split("-")[0] for path in unpacked.iterdir()} == {"workerctl"}


@pytest.mark.long
def test_every_module_of_the_wheel_imports_on_its_own(unpacked, tmp_path):
    package = unpacked / "workerctl"
    names = [
        ".".join(path.relative_to(unpacked).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(package.rglob("*.py"))
        if path.name != "__main__.py"  # importing it would run it
    ]
    assert len(names) > 10
    imported = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH, *names],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert imported.returncode == 0, imported.stdout
    assert imported.stdout.strip().endswith(str(package / "__init__.py"))


def test_every_program_of_the_wheel_compiles(unpacked):
    for path in unpacked.rglob("__main__.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")
