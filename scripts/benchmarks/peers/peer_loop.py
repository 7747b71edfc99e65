"""A worker of other process managers: imports what ours do, says when its loop begins, and waits for work.

In its folder: `go` gives everybody one job of a second, `fat` gives everybody four of 12 s, the first of which takes
150 MB for good. A worker that is told to leave finishes the job that it has in hand.
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
JOBS = {"go": (1, 1.0, 0), "fat": (4, 12.0, 150)}  # how many, seconds of each, MB
_done = set()
_stopped = []
_kept = []


def begin() -> None:
    note("loop")


def note(word: str) -> None:
    now = time.clock_gettime(time.CLOCK_MONOTONIC)
    descriptor = os.open(os.environ["PEER_STAMPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{os.getpid()} {now:.6f} {word}\n".encode())
    os.close(descriptor)


def work() -> None:
    """Jobs, where there are some that this process has not done."""
    for name, (count, seconds, mebibytes) in JOBS.items():
        if name not in _done and (FOLDER / name).exists():
            _done.add(name)
            _kept.append(bytearray(b"x") * (mebibytes << 20))
            for _ in range(count):
                if not _stopped:
                    one_job(seconds)


def one_job(seconds: float) -> None:
    note("began")
    time.sleep(seconds)
    note("ended")


def app(_environ, start_response):
    """What gunicorn serves: a job is a request."""
    start_response("200 OK", [])
    one_job(JOBS["go"][1])
    return [b""]


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stopped.append(1))
    if (FOLDER / "fat").exists():
        _done.add("fat")  # the successor of one that was too fat
    begin()
    while not _stopped:
        work()
        time.sleep(0.01)
    sys.exit(0)
