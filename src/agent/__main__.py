"""`python -m workerctl.agent`: started by the supervisor, one per machine."""

from __future__ import annotations

import signal
import socket
import sys

from setproctitle import setproctitle

from ..broker.surroundings import surroundings
from ..contract import Channel, Exit, WorkerctlError
from .agent import Agent


def main() -> int:
    """Serve until SIGTERM or until the supervisor is gone; the exit code of the process."""
    setproctitle("workerctl: agent")
    channel = Channel.from_environment()
    if channel is None:
        sys.stderr.write("the agent is started by `workerctl start`\n")
        return Exit.USAGE
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)  # the wake-up descriptor says it
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    try:
        Agent(surroundings(), channel).serve(ours)
    except WorkerctlError as error:
        sys.stderr.write(f"{error}\n")
        channel.send({"type": "failed", "exit_code": error.exit_code, "message": str(error)})
        return error.exit_code
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
