"""The connection that a process keeps for its producers, in programs that fork and that have many files open."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

MANY_FILES = """
import os
files = [os.dup(0) for _ in range(1024)]
print(*(enqueue("a") for _ in range(2)))
"""
FORKS_MEANWHILE = """
import os, signal, threading, psycopg
enqueue("a")
url = os.environ["DATABASE_URL"]
waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
with psycopg.connect(url) as others, psycopg.connect(url, autocommit=True) as looking:
    others.execute("LOCK TABLE workerctl.live IN ACCESS EXCLUSIVE MODE")
    thread = threading.Thread(target=enqueue, args=("a",))
    thread.start()
    while looking.execute(waits).fetchone() != (1,):
        assert thread.is_alive()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        enqueue("a")
        os._exit(0)
    others.rollback()
    print(os.waitpid(child, 0)[1])
    thread.join()
"""


def test_many_open_files_are_no_hindrance(queue: psycopg.Connection[Any], database_url: str, tmp_path: Path) -> None:
    assert printed(MANY_FILES, database_url, tmp_path) == "1 2"


def test_a_child_that_is_forked_while_another_thread_enqueues_enqueues_too(
    queue: psycopg.Connection[Any], database_url: str, tmp_path: Path
) -> None:
    assert printed(FORKS_MEANWHILE, database_url, tmp_path) == "0"
    assert queue.execute("SELECT count(*) FROM workerctl.live").fetchone() == (3,)


def printed(program: str, database_url: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"from workerctl import enqueue\n{program}"],
        env={"DATABASE_URL": database_url},
        cwd=folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 2048)),
        stdout=subprocess.PIPE,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.strip()
