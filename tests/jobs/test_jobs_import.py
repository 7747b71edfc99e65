"""What importing the shipped jobs costs, and what the template shares."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("PIL", "jieba", "boto3", "botocore", "httpx", "psycopg", "charset_normalizer", "asyncio")


def modules_after(statement: str) -> set[str]:
    program = f"{statement}\nimport sys; print(*sys.modules, sep='\\n')"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_importing_the_shipped_jobs_registers_them_without_heavy_libraries():
    found = modules_after("import workerctl.jobs.shipped")
    assert not found & set(HEAVY)
    assert not {name for name in found if name.startswith("workerctl.jobs.") and name.count(".") > 2}


def test_every_shipped_kind_is_registered():
    program = "import workerctl.jobs.shipped; from workerctl.handler import handlers; print(*sorted(handlers()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "characters.chapters", "characters.extract", "characters.merge",
        "image.batch", "image.generate", "image.sheet", "image.upscale", "log.write", "novel.split", "storage.orphans",
        "text.generate", "video.generate",
    ]  # fmt: skip


def test_warming_up_imports_what_workers_share_and_starts_no_thread():
    found = modules_after("import workerctl.jobs.warm, threading; assert threading.active_count() == 1")
    assert {"PIL.Image", "boto3", "httpx", "workerctl.jobs.text.chapters"} <= found
    assert "jieba" not in found


def test_the_execution_log_alone_registers_nothing_else():
    program = "import workerctl.jobs.execution_log; from workerctl.handler import handlers; print(*handlers())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["log.write"]
