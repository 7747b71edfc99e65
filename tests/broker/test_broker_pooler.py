"""The queue through a real pgBouncer in transaction mode: no prepared statements, no session state."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from workerctl.broker.connection import connect
from workerctl.broker.exchange import Ended, Request, exchange
from workerctl.broker.fleet import KnownKind, Registration, hold_primary, register_worker
from workerctl.producer import enqueue_many

WORKERCTL = Path(sys.executable).with_name("workerctl")
PROGRAM = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
# It refuses root; a user namespace of its own keeps its pid and its right to our folders.
AS_NO_ROOT = ["unshare", "--user", "--map-user=65534", "--map-group=65534", "--"] if os.geteuid() == 0 else []

pytestmark = pytest.mark.skipif(
    not Path(PROGRAM).exists(), reason="pgbouncer is not installed: apt-get install --no-install-recommends pgbouncer"
)


@pytest.fixture
def pooled_url(queue: psycopg.Connection[Any], database_url: str, tmp_path: Path) -> Iterator[str]:
    """Transaction mode over two server connections; `queue` has migrated directly."""
    direct = urlsplit(database_url)
    server = parse_qs(direct.query)
    folder = tmp_path / "pooler"
    folder.mkdir()
    port = _free_port()
    (folder / "users.txt").write_text(f'"{direct.username}" "{direct.password}"\n')
    (folder / "pgb.ini").write_text(
        f"[databases]\n* = host={server['host'][0]} port={server['port'][0]}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {folder}/users.txt\npool_mode = transaction\ndefault_pool_size = 2\n"
        f"max_client_conn = 100\nlogfile = {folder}/log\npidfile = {folder}/pid\n"
    )
    process = subprocess.Popen([*AS_NO_ROOT, PROGRAM, str(folder / "pgb.ini")], stderr=subprocess.DEVNULL)
    try:
        url = f"postgresql://{direct.username}:{direct.password}@127.0.0.1:{port}{direct.path}"
        _wait_until_it_answers(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait()


def test_four_workers_share_two_server_connections(pooled_url: str) -> None:
    with connect(pooled_url, application="test", pooled=True) as producer:
        ids = enqueue_many([("a", {"n": n}) for n in range(200)], conn=producer)
    settled: list[int] = []

    def work(number: int) -> None:
        with connect(pooled_url, application="test", pooled=True) as connection:
            registration = Registration(f"p.{number}", "n", "h", "default", number, 1, None, [], 30)
            worker = register_worker(connection, registration, [KnownKind("a", "default", 3, 1)])
            ended: list[Ended] = []
            while True:
                reply = exchange(connection, worker, Request(want=7, ended=ended, renew_seconds=30.0))
                settled.extend(job.id for job in ended)
                if not reply.claimed:
                    return
                ended = [Ended(job.id, job.attempt, "succeeded") for job in reply.claimed]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(settled) == ids


def test_the_primarys_lease_needs_no_session(pooled_url: str) -> None:
    with connect(pooled_url, application="test", pooled=True) as first:
        assert hold_primary(first, agent="a1", node_id="n1", lease_seconds=60) == 1
    with connect(pooled_url, application="test", pooled=True) as second:
        assert hold_primary(second, agent="a2", node_id="n2", lease_seconds=60) is None
        assert hold_primary(second, agent="a1", node_id="n1", lease_seconds=60) == 1


def test_migrations_leave_nothing_prepared_behind(pooled_url: str) -> None:
    for _ in range(3):
        with connect(pooled_url, application="migrations", bounded=False) as connection:
            for number in range(3):
                connection.execute("SELECT %s::integer", [number])


def test_a_url_through_a_pooler_alone_is_enough_and_doctor_says_what_it_costs(pooled_url: str, tmp_path: Path) -> None:
    (tmp_path / "sums.py").write_text(
        "from workerctl import job\n\n@job('add')\ndef add(payload: dict) -> int:\n"
        "    return payload['a'] + payload['b']\n"
    )
    (tmp_path / "workerctl.toml").write_text('[jobs]\nmodules = ["sums"]\nshipped = false\n')
    url = f"{pooled_url}?pgbouncer=true"
    assert run(tmp_path, url, "start", "--instances", "1").returncode == 0
    try:
        assert run(tmp_path, url, "enqueue", "add", "a=1", "b=2", "--wait").stdout == "3\n"
        told = run(tmp_path, url, "doctor")
        assert "warning  wake-up      NOTIFY is not heard through a pooler" in told.stdout
        assert told.returncode == 0, f"it is no error:\n{told.stdout}"
    finally:
        run(tmp_path, url, "stop")


def test_a_pooler_that_is_not_called_one_is_recognised(pooled_url: str, tmp_path: Path) -> None:
    done = run(tmp_path, pooled_url, "nodes")
    assert done.returncode == 69
    assert done.stderr.endswith("it is a transaction pooler: say so with ?pgbouncer=true at the end of the URL\n")


def run(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([WORKERCTL, *words], cwd=folder, env=os.environ | {"DATABASE_URL": url}, text=True,
                          capture_output=True, timeout=90, check=False)  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError as error:
            written = log.read_text() if log.exists() else ""
            assert process.poll() is None and time.monotonic() < deadline, f"pgbouncer: {error}\n{written}"
            time.sleep(0.02)
