"""The template: imports the job modules once, freezes them, and forks workers, and the agent, from itself."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from functools import partial
from typing import Any

from setproctitle import setproctitle

from ..broker.surroundings import Surroundings, surroundings
from ..contract import ENV_CHANNEL, Channel, ChannelClosed, Exit, WorkerctlError, next_beat
from ..settings import Settings, settings_of_pool
from ..settings.pools import modules_key
from .fork import Origin, Wanted, fork_children, work
from .journal import log_to_stderr
from .load import check_forkable, load_modules, open_descriptors
from .rehearsal import rehearse
from .release import fingerprint
from .sharing import let_go_of_files


@dataclass(frozen=True, slots=True)
class Imported:
    """What a template and its spares have in common."""

    around: Surroundings
    supervisor_pid: int
    code: str  # fingerprint of what was imported


def main() -> int:
    """Serve until the supervisor says stop or is gone; the exit code of the process.

    The arguments are the pool whose modules are imported, and modules of programs that will be forked from here too,
    to be shared with them.
    """
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
        pool, *programs = sys.argv[1:]
        for program in programs:
            importlib.import_module(program)
        settings = settings_of_pool(around.settings, pool)
        load_modules(
            settings,
            warm=True,
            after_each=lambda name: check_forkable(name, own),
            key=modules_key(around.settings, pool),
        )
    except WorkerctlError as error:
        if error.__cause__ is not None:
            traceback.print_exception(error.__cause__)
        sys.stderr.write(f"{error}\n")
        channel.send({"type": "failed", "exit_code": error.exit_code, "message": str(error)})
        return error.exit_code
    imported = Imported(around, supervisor_pid, fingerprint(settings))
    _prepare_children(around.settings)
    gc.collect()  # what job modules left: ours are frozen
    gc.freeze()  # the collector never touches these pages again, so that they stay shared
    return _serve(channel, imported)


def _prepare_children(settings: Settings) -> None:
    """What every child would set up alike, and bring into memory of its own for it: a worker 0.7 MB."""
    signal.set_wakeup_fd(-1)  # this and the handlers whatever job modules made of them
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the supervisor's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would reap what we and `subprocess` wait for
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR2, all_threads=True)  # sent before a hung worker is killed
    log_to_stderr(settings.logs)


def _serve(channel: Channel, imported: Imported) -> int:
    """Fork whatever is asked for: workers, and a spare of this template that knows what it knows.

    SIGTERM ends it at once, for there is nothing to finish; a handler would have to be undone in every fork.
    """
    channel.send({"type": "ready", "fingerprint": imported.code})
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        origin = Origin(imported.supervisor_pid, (channel.fileno(), selector.fileno()), [])
        beat_at = next_beat(time.monotonic())
        while True:
            selector.select(max(0.0, beat_at - time.monotonic()))
            try:
                messages = channel.receive()
            except ChannelClosed:
                return Exit.DONE
            requests = [message for message in messages if message["type"] == "fork"]
            _answer(channel, [each for each in requests if each["as"] == "once"], imported, origin)
            _answer(channel, [each for each in requests if each["as"] != "once"], imported, origin)
            while origin.intermediates:
                os.waitpid(origin.intermediates.pop(), 0)
            if time.monotonic() >= beat_at:
                channel.send({"type": "heartbeat"})
                beat_at = next_beat(time.monotonic())


def _answer(channel: Channel, requests: list[dict[str, Any]], imported: Imported, origin: Origin) -> None:
    """Fork them together: each intermediate of its own would take as long as a child. Migrations come alone."""
    asked = {request["as"] for request in requests}
    if "template" in asked:
        let_go_of_files()  # a spare is asked for when everybody is ready, so that nobody waits
    if asked & {"worker", "program"}:
        rehearse(imported.around)
    rest = list(requests)
    try:
        for pid in fork_children([_wanted(request, imported) for request in requests], origin) if requests else ():
            channel.send({"type": "forked", "serial": rest[0]["serial"], "pid": pid})
            del rest[0]
    except OSError as error:
        for request in rest:
            channel.send({"type": "fork-failed", "serial": request["serial"], "message": f"fork: {error.strerror}"})
    finally:
        for request in requests:
            for descriptor in request["fds"]:
                os.close(descriptor)
    if "once" in asked and rehearse(imported.around, last=False):  # beside the migrations
        channel.send({"type": "rehearsed"})


def _wanted(request: dict[str, Any], imported: Imported) -> Wanted:
    match request["as"]:
        case "worker":
            run = partial(work, request, imported.around)
        case "template":
            run = partial(_be_a_spare, request, imported)
        case _:
            run = partial(_run_program, request)
    return Wanted(request["fds"], run)


def _be_a_spare(request: dict[str, Any], imported: Imported) -> int:
    return _serve(Channel(socket.socket(fileno=request["fds"][0])), imported)


def _run_program(request: dict[str, Any]) -> int:
    """A program of ours as `python -m` would run it, on memory that it shares with us; its exit code."""
    os.environ[ENV_CHANNEL] = str(request["fds"][0])
    return int(importlib.import_module(f"{request['module']}.__main__").main())
