"""`python -m workerctl.logs --directory DIR --max-size BYTES --keep N [...]`: the collector's process."""

from __future__ import annotations

import resource
import sys

from ..contract import Channel, Exit, Unusable, WorkerctlError, name_process
from .collector import Collector, Rotation

_USAGE = (
    "python -m workerctl.logs --directory DIR --max-size BYTES --keep N [--max-age SECONDS] [--max-total BYTES] "
    "[--compress yes|no], started by the supervisor"
)


def main(arguments: list[str]) -> int:
    """Collect until everything has ended; the exit code."""
    try:
        collector = _collector(arguments)
    except WorkerctlError as error:
        print(error, file=sys.stderr)  # noqa: T201 - last words, before there is a log
        return error.exit_code
    name_process("workerctl: log collector")
    _allow_many_descriptors()
    collector.run()
    return Exit.DONE


def _collector(arguments: list[str]) -> Collector:
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))  # argparse would cost a megabyte
    channel = Channel.from_environment()
    try:
        if channel is None:
            raise ValueError
        return Collector(channel, given["--directory"], _rotation(given))
    except (KeyError, ValueError):
        raise Unusable(f"usage: {_USAGE}") from None


def _rotation(given: dict[str, str]) -> Rotation:
    return Rotation(
        max_size_bytes=int(given["--max-size"]),
        keep=int(given["--keep"]),
        max_age_seconds=float(given.get("--max-age", 0)),
        compress={"yes": True, "no": False}[given.get("--compress", "no")],
        max_total_bytes=int(given.get("--max-total", 0)),
    )


def _allow_many_descriptors() -> None:
    # two pipes and two files for each of 512 workers are over the usual 1024
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
