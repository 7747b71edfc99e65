"""A worker of other process managers: imports what ours do, says when its loop begins, and waits."""

import os
import signal
import sys
import time

import boto3  # noqa: F401
import httpx  # noqa: F401
import PIL.Image  # noqa: F401
import psycopg  # noqa: F401


def begin() -> None:
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    descriptor = os.open(os.environ["PEER_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{os.getpid()} {now:.6f}\n".encode())
    os.close(descriptor)


def app(_environ, start_response):
    """What gunicorn wants to serve."""
    start_response("200 OK", [])
    return [b""]


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    begin()
    while True:
        time.sleep(3600)
