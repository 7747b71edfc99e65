"""The two commands of the README and what they share: what they refuse, remember and hand over."""

import ast
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
OURS = ("demo", "test", "check")


def older_pythons():
    """Interpreters on this machine that are too old for us."""
    found = [shutil.which(f"python3.{minor}") for minor in range(6, 11)]
    found += [str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python3")]
    for path in filter(None, found):
        asked = subprocess.run(
            [path, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, text=True
        )
        if asked.stdout.strip() == "False":
            yield path


@pytest.fixture(scope="module")
def bootstrap():
    sys.path.insert(0, str(SCRIPTS))
    import _bootstrap

    yield _bootstrap
    sys.path.remove(str(SCRIPTS))


@pytest.fixture
def tree(tmp_path, bootstrap):
    """A checkout that was set up before, whose .venv only says what it is asked to run."""
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "workerctl", "ruff", "mypy", "lint-imports"):
        (programs / name).write_text('#!/bin/sh\necho "$(basename "$0") $*"\n')
        (programs / name).chmod(0o755)
    stamp = {"fingerprint": bootstrap.fingerprint(), "extras": sorted(bootstrap.TEST_EXTRAS)}
    (programs.parent / ".stamp").write_text(json.dumps(stamp))
    return tmp_path


def run(tree, script, *arguments, python=sys.executable, **options):
    return subprocess.run(
        [python, tree / "scripts" / script, *arguments], capture_output=True, text=True, check=False, **options
    )


@pytest.mark.parametrize("name", OURS)
def test_the_scripts_can_be_typed_as_they_are(name):
    assert os.access(SCRIPTS / name, os.X_OK)
    assert (SCRIPTS / name).read_text().startswith("#!/usr/bin/env python3\n")


@pytest.mark.parametrize("name", ["_bootstrap.py", *OURS])
def test_an_old_python_can_read_them_to_the_point_where_it_is_refused(name):
    ast.parse((SCRIPTS / name).read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("name", OURS)
def test_older_pythons_get_one_line_naming_what_to_install(name, tree):
    tried = list(older_pythons())
    if not tried:
        pytest.skip("no older Python is installed here")
    for python in tried:
        refused = run(tree, name, python=python)
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1), refused.stderr
        assert "install python3.11 and python3.11-venv" in refused.stderr


def test_they_use_nothing_but_the_standard_library():
    for name in ("_bootstrap.py", "_texts.py", *OURS):
        tree = ast.parse((SCRIPTS / name).read_text())
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            for imported in names:
                root = imported.split(".")[0]
                assert root in sys.stdlib_module_names or (SCRIPTS / f"{root}.py").exists(), f"{name}: {imported}"


def test_what_was_set_up_once_starts_in_less_than_a_second(tree):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(tree, "test", "-x")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1  # of the CPU, whoever else runs
    assert (done.stdout, done.stderr) == ("python -m pytest -m not long -x\n", "")


def test_the_demo_hands_its_arguments_on(tree):
    done = run(tree, "demo", "--novel", "我的小说.txt")
    assert (done.stdout, done.stderr) == ("workerctl demo --novel 我的小说.txt\n", "")


def test_arguments_of_the_caller_come_after_ours_so_that_his_win(tree):
    assert run(tree, "test", "-m", "long").stdout == "python -m pytest -m not long -m long\n"


def test_the_tests_run_from_the_root_wherever_they_are_called(tree, tmp_path_factory):
    (tree / ".venv" / "bin" / "python").write_text("#!/bin/sh\npwd\n")
    done = run(tree, "test", cwd=tmp_path_factory.mktemp("elsewhere"))
    assert Path(done.stdout.strip()) == tree


def test_a_larger_set_of_extras_serves_a_smaller_one_and_not_the_reverse(bootstrap):
    stamp = {"fingerprint": "f", "extras": list(bootstrap.TEST_EXTRAS)}
    assert bootstrap.is_satisfied(stamp, "f", bootstrap.DEMO_EXTRAS)
    stamp["extras"] = list(bootstrap.DEMO_EXTRAS)
    assert not bootstrap.is_satisfied(stamp, "f", bootstrap.TEST_EXTRAS)
    assert bootstrap.wanted_extras(stamp, ["test"]) == ["content", "embedded", "test"]


def test_a_changed_pyproject_is_set_up_again(bootstrap):
    stamp = {"fingerprint": "before", "extras": list(bootstrap.TEST_EXTRAS)}
    assert not bootstrap.is_satisfied(stamp, "after", bootstrap.DEMO_EXTRAS)
    assert not bootstrap.is_satisfied({}, "after", bootstrap.DEMO_EXTRAS)


WITHOUT_ENSUREPIP = """
import os, sys
sys.path.insert(0, sys.argv[1])
sys.modules["ensurepip"] = None  # what find_spec says on a bare Debian
os.geteuid = lambda: 1000
import _bootstrap
_bootstrap.need_ensurepip()
"""


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="the line to type is Debian's")
def test_where_ensurepip_is_missing_an_ordinary_user_gets_the_exact_line():
    refused = subprocess.run(
        [sys.executable, "-c", WITHOUT_ENSUREPIP, SCRIPTS], capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert refused.stderr.endswith("type: sudo apt-get install -y --no-install-recommends python3-venv\n")
    assert refused.stderr.count("\n") == 1


def test_check_runs_every_step_and_ends_with_a_summary(tree):
    (tree / ".venv" / "bin" / "mypy").write_text("#!/bin/sh\nexit 1\n")
    done = run(tree, "check")
    steps = [line.removeprefix("== ") for line in done.stdout.splitlines() if line.startswith("== ")]
    assert steps == ["format", "lint", "types", "imports", "tests"]
    assert "python -m pytest -m not long -n 2 --dist loadfile" in done.stdout  # what scripts/test says
    assert done.stdout.endswith("failed: types\n")
    assert done.returncode == 1


def test_check_passes_when_all_steps_do_and_all_adds_the_long_tests(tree):
    done = run(tree, "check", "--all")
    assert done.returncode == 0
    assert "python -m pytest -m not long -m \n" in done.stdout  # the last -m wins
    assert done.stdout.endswith("all passed\n")


def test_ci_runs_check_with_its_arguments(tree):
    shutil.copytree(ROOT / ".ci", tree / ".ci")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    done = subprocess.run([tree / ".ci" / "run", "--all"], capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, done.stdout.endswith("all passed\n")) == (0, True)


@pytest.mark.long
def test_a_fresh_checkout_is_set_up_in_less_than_a_minute(tmp_path):
    ignored = shutil.ignore_patterns(".venv", ".git", ".cache", "__pycache__", "*.egg-info", "build")
    tree = tmp_path / "checkout"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=ignored)
    since = time.monotonic()
    done = run(tree, "test", "--version")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - since < 60
    assert done.stdout.startswith("pytest")
    assert not list((tree / ".venv").rglob("__editable___workerctl*finder*"))  # a plain path entry starts faster
