"""What a command imports, and what a job module does at import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cli_typed import run

INTRUSIVE = """
import os, sys
import msgspec
from workerctl import job
print("hello from the module")
os.chdir("/")
os.environ["DATABASE_URL"] = "postgresql://me@127.0.0.1:1/another"
sys.stdout = None

@job("shop.pay")
def pay(payload: dict) -> None: ...

class Order(msgspec.Struct):
    number: str

@job("shop.order")
def order(payload: Order) -> None: ...
"""


def test_what_a_job_module_does_at_import_is_kept_from_the_commands_that_look_at_it(
    tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "kinds.py").write_text(INTRUSIVE)
    (tmp_path / "workerctl.toml").write_text('[jobs]\nmodules = ["kinds"]\nshipped = false\n')
    assert run(tmp_path, "migrate", DATABASE_URL=database_url).returncode == 0
    done = run(tmp_path, "enqueue", "shop.pay", DATABASE_URL=database_url)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert "hello from the module" in done.stderr
    for value, code in (("5", 1), ('"5"', 0)):
        done = run(tmp_path, "enqueue", "shop.order", f"number={value}", DATABASE_URL=database_url)
        assert (done.returncode, "quotes of its own" in done.stderr) == (code, code == 1)
    (tmp_path / "kinds.py").write_text("import sys\nsys.exit(3)")
    checked = run(tmp_path, "config", "check")
    assert (checked.returncode, checked.stdout) == (0, "")
    assert "importing kinds failed: SystemExit: 3" in checked.stderr


def modules_of(code: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("\n")[-2].split())


HEAVY = (
    "psycopg",
    "boto3",
    "botocore",
    "PIL",
    "httpx",
    "jieba",
    "rich",
    "workerctl.jobs",
    "workerctl.worker",
    "asyncio",
)


def test_the_supervisor_imports_no_driver_no_job_and_no_command_line(tmp_path: Path) -> None:
    modules = modules_of("import workerctl.supervisor.__main__", tmp_path)
    assert not modules & {*HEAVY, "typer", "click", "workerctl.broker", "workerctl.cli", "workerctl.handler"}
    assert not modules & {"dataclasses", "logging", "typing_extensions"}  # megabytes that it has no use for


def test_status_imports_no_driver_no_job_no_settings_and_no_rich(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['workerctl', 'status']\nfrom workerctl.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 4"
    )
    modules = modules_of(code, tmp_path)
    assert "workerctl.supervisor.client" in modules
    assert not modules & {*HEAVY, "workerctl.broker", "workerctl.settings", "msgspec", "dataclasses"}
