"""The only module that forks: an intermediate forks the child and leaves, so that the supervisor adopts it."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from ..broker.surroundings import Surroundings
from ..contract import Channel, Exit, WorkerctlError
from ..settings import settings_of_pool
from .identity import Identity
from .process import WorkerProcess

ADOPTION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Origin:
    """The process that forks."""

    supervisor_pid: int
    foreign: tuple[int, ...]  # its descriptors that a child must not keep
    intermediates: list[int]  # its own children, which leave at once: to be reaped when there is time


def fork_worker(request: dict[str, Any], around: Surroundings, origin: Origin) -> int:
    """Fork a worker for this request and return its pid. Raises OSError where there is no process to be had."""
    return fork_child(request, origin, lambda: _work(request, around))


def fork_child(request: dict[str, Any], origin: Origin, run: Callable[[], int]) -> int:
    """As `fork_worker`; the child ends with what `run` returns."""
    read_end, write_end = os.pipe()
    try:
        try:
            intermediate = os.fork()
            if intermediate == 0:
                _intermediate(request, run, origin, read_end, write_end)
        finally:
            os.close(write_end)
        text = os.read(read_end, 32)  # one write of a few bytes comes whole
    finally:
        os.close(read_end)
    origin.intermediates.append(intermediate)
    if not text:
        raise OSError(0, "the intermediate process could not fork")
    return int(text)


def _intermediate(
    request: dict[str, Any], run: Callable[[], int], origin: Origin, read_end: int, answer: int
) -> NoReturn:
    me = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            _child(request, run, (me, origin.supervisor_pid), (*origin.foreign, read_end, answer))
        os.write(answer, str(pid).encode())
    finally:
        os._exit(0)


def _child(
    request: dict[str, Any], run: Callable[[], int], parents: tuple[int, int], foreign: tuple[int, ...]
) -> NoReturn:
    code: int = Exit.FAILED
    try:
        os.setsid()  # what is left of this session can be killed as one
        _take_descriptors(request["fds"], foreign)
        _wait_for_adoption(*parents)
        code = run()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)  # handlers' threads must not hold up the exit


def _work(request: dict[str, Any], around: Surroundings) -> int:
    me = Identity.from_request(request)
    around = replace(around, settings=settings_of_pool(around.settings, me.pool))
    if me.cores is not None and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):  # cores that were taken from this process meanwhile
            os.sched_setaffinity(0, me.cores)
    if me.nice:
        os.nice(me.nice)
    descriptor, _, _, *wake = request["fds"]
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        return WorkerProcess(me, around, channel, (wake[0], wake[1]) if wake else None).run()
    except WorkerctlError as error:
        sys.stderr.write(f"{error}\n")
        channel.send({"type": "failed", "exit_code": error.exit_code, "message": str(error)})
        return error.exit_code


def _take_descriptors(fds: list[int], foreign: tuple[int, ...]) -> None:
    _, out, err, *_ = fds
    os.dup2(out, 1)
    os.dup2(err, 2)
    for descriptor in (out, err, *foreign):
        os.close(descriptor)


def _wait_for_adoption(intermediate_pid: int, supervisor_pid: int) -> None:
    """Until the supervisor is the parent, signals and exits would reach the wrong process. Ends where it never will be:
    it was killed meanwhile, and somebody else is the parent.
    """
    deadline = time.monotonic() + ADOPTION_SECONDS
    while (parent_pid := os.getppid()) != supervisor_pid:
        if parent_pid != intermediate_pid or time.monotonic() > deadline:
            os._exit(Exit.FAILED)
        time.sleep(0.0002)
