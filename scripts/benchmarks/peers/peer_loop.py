"""A worker of other process managers: imports what ours do, says when its loop begins, and waits for work.

In its folder: `go` gives everybody one job of a second, `fat` gives everybody one of 12 s that takes 150 MB. A worker
that is told to leave finishes the job that it has in hand.
"""

import os
import pathlib
import signal
import sys
import time

import boto3  # noqa: F401
import httpx  # noqa: F401
import PIL.Image  # noqa: F401
import psycopg  # noqa: F401

FOLDER = pathlib.Path(os.environ["PEER_STAMPS"]).parent
JOBS = {"go": (1.0, 0), "fat": (12.0, 150)}  # seconds and MB
_done = set()


def begin() -> None:
    note("loop")


def note(word: str) -> None:
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    descriptor = os.open(os.environ["PEER_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{os.getpid()} {now:.6f} {word}\n".encode())
    os.close(descriptor)


def work() -> None:
    """One job, where there is one that this process has not done."""
    for name, (seconds, mebibytes) in JOBS.items():
        if name not in _done and (FOLDER / name).exists():
            _done.add(name)
            kept = bytearray(b"x") * (mebibytes << 20)
            note("began")
            time.sleep(seconds)
            note("ended")
            del kept


def app(_environ, start_response):
    """What gunicorn serves: a job is a request."""
    start_response("200 OK", [])
    note("began")
    time.sleep(JOBS["go"][0])
    note("ended")
    return [b""]


if __name__ == "__main__":
    stopped = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.append(1))
    if (FOLDER / "fat").exists():
        _done.add("fat")  # the successor of one that was too fat
    begin()
    while not stopped:
        work()
        time.sleep(0.01)
    sys.exit(0)
