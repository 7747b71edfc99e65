"""The template: imports the job modules once, freezes them, and forks a worker from itself per request."""

from __future__ import annotations

import gc
import os
import selectors
import signal
import sys
import traceback
from typing import Any

from setproctitle import setproctitle

from ..broker.surroundings import Surroundings, surroundings
from ..contract import Channel, ChannelClosed, Exit, WorkerctlError
from .fork import fork_worker
from .load import check_forkable, load_modules, open_descriptors


def main() -> int:
    """Serve until the supervisor says stop or is gone; the exit code of the process."""
    setproctitle("workerctl: template")
    channel = Channel.from_environment()
    if channel is None:
        sys.stderr.write("the template is started by `workerctl start`\n")
        return Exit.USAGE
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervisor_pid = os.getppid()
    try:
        around = surroundings()
        own = open_descriptors()
        load_modules(around.settings, warm=True, after_each=lambda name: check_forkable(name, own))
    except WorkerctlError as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        sys.stderr.write(f"{error}\n")
        channel.send({"type": "failed", "exit_code": error.exit_code, "message": str(error)})
        return error.exit_code
    gc.collect()
    gc.freeze()  # the collector never touches these pages again, so that they stay shared
    channel.send({"type": "ready"})
    return _serve(channel, around, supervisor_pid)


def _serve(channel: Channel, around: Surroundings, supervisor_pid: int) -> int:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    waker_read, waker_write = os.pipe()
    os.set_blocking(waker_write, False)
    signal.set_wakeup_fd(waker_write)
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(waker_read, selectors.EVENT_READ)
        while not stopped:
            selector.select()
            try:
                messages = channel.receive()
            except ChannelClosed:
                break
            for message in messages:
                if message["type"] == "fork":
                    _answer(channel, message, around, supervisor_pid, (waker_read, waker_write, selector.fileno()))
    return Exit.DONE


def _answer(
    channel: Channel, request: dict[str, Any], around: Surroundings, supervisor_pid: int, own: tuple[int, ...]
) -> None:
    serial = request["serial"]
    try:
        pid = fork_worker(request, around, supervisor_pid, (channel.fileno(), *own))
    except OSError as error:
        channel.send({"type": "fork-failed", "serial": serial, "message": f"fork: {error.strerror}"})
    else:
        channel.send({"type": "forked", "serial": serial, "pid": pid})
    finally:
        for descriptor in request["fds"]:
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
